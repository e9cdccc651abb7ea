"""One training run in memory: network, objective, optimiser, data, and the step that moves them."""

from typing import Any

import torch
from torch import Tensor

from .batches import Batches
from .data import load
from .dataset import Dataset, holdout
from .latent import Objective, build_objective
from .models import build_model, model_options
from .optimize import build_optimizer, choose_device, clamp_weights
from .schedules import factor
from .settings import Settings

__all__ = ["TrainingRun", "choose_model_options"]


def choose_model_options(settings: Settings, dataset: Dataset) -> dict[str, Any]:
    """Return what the network is built with: what the data ask for, and the options that were set."""
    known = model_options(settings.model)
    options: dict[str, Any] = {"in_channels": dataset.channels, "num_classes": len(dataset.classes)}
    if "image_size" in known:
        options["image_size"] = dataset.test_images.shape[-1]
    chosen = {name: getattr(settings, name) for name in ("width", "pad_value", "stem", "downsample")}
    return options | {name: value for name, value in chosen.items() if value}


class TrainingRun:
    """Everything of a run that lives in memory. The global random state is left as it was."""

    def __init__(self, settings: Settings) -> None:
        self.settings, self.device = settings, choose_device(settings.device)
        dataset = load(settings.data, settings.root or None, image_size=settings.image_size)
        self.dataset = holdout(dataset, settings.holdout) if settings.holdout else dataset
        self.batches = Batches(
            self.dataset,
            size=settings.batch_size,
            augment=settings.augment,
            seed=settings.seed,
            device=self.device,
        )
        self.options = choose_model_options(settings, dataset)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            self.network = build_model(settings.model, **self.options)
            self.objective: Objective = build_objective(self.network, settings).to(self.device)
        if settings.channels_last:
            self.objective.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer = build_optimizer(self.objective, settings)
        self.steps = settings.epochs * self.batches.steps

    def train_step(self, rows: Tensor, step: int) -> Tensor:
        """Take optimiser step number ``step`` on these rows of the training images.

        Returns float64 ``[3]`` on the device: loss times images, right answers, images.
        """
        settings, passed = self.settings, step / self.steps
        self.objective.set_progress(passed, step)
        for group in self.optimizer.param_groups:
            group["lr"] = settings.learning_rate * factor(settings.schedule, passed)
        images, labels = self.batches.get(rows, step)
        if settings.channels_last:
            images = images.contiguous(memory_format=torch.channels_last)
        loss, logits = self.objective(images, labels)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        if settings.weight_limit:
            clamp_weights(self.network, settings.weight_limit)
        hits = (logits.detach().argmax(1) == labels).sum().double()
        count = hits.new_tensor(len(rows))
        return torch.stack((loss.detach().double() * count, hits, count))

    def synchronise(self) -> None:
        """Wait for the device."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
