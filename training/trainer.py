"""The training loop: deterministic, resumable at any kill, the test set evaluated once at its end.

Randomness is stateless: the order of an epoch and every batch's augmentation follow from (seed, epoch, step), and the
learning rate from the step. A checkpoint therefore holds tensors and counters alone, and a resumed run repeats the
unbroken one bit for bit on a CPU with the same number of threads.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..runtime.errors import DataError
from . import checkpoints
from .augment import find_augmentation
from .data import Dataset, holdout, load
from .evaluate import accuracy
from .latent import Objective, build_objective
from .models import build_model
from .optimize import build_optimizer, choose_device, clamp_weights
from .schedules import factor
from .settings import Settings

__all__ = ["Progress", "TrainResult", "load_network", "train"]

CHECKPOINT_SECONDS = 60.0
"""Within a long epoch a checkpoint is written at this interval; at the end of an epoch always."""
FORMAT = 1


@dataclass(frozen=True)
class Progress:
    """What the progress callback is told after every step; ``metrics`` is filled at the end of an epoch."""

    epoch: int
    epochs: int
    step: int
    steps: int
    images_per_second: float
    seconds_left: float
    metrics: dict[str, float] | None = None


@dataclass(frozen=True)
class TrainResult:
    """The end of a run: its folder and the content of its metrics.json."""

    folder: Path
    metrics: dict[str, Any]


def train(*, out: str | Path, progress: Callable[[Progress], None] | None = None, **settings: Any) -> TrainResult:
    """Train a network; the keywords are the fields of :class:`.settings.Settings`.

    Writes into ``out``: network.json (model and options), network.pt (its weights), metrics.json, metrics.jsonl (a line
    an epoch), checkpoint.pt. A checkpoint of the same settings is resumed, of others replaced.
    metrics.json: ``training`` is the binary network's accuracy on the test images, evaluated once, at the end, and
    ``latent_stream`` that of the latent stream or null. With ``holdout`` > 0 the two are null and ``validation`` and
    ``validation_latent_stream`` are measured on the held-out training images instead.
    """
    chosen = Settings.from_keywords(**settings)
    before = torch.get_num_threads()
    torch.set_num_threads(chosen.threads or before)
    try:
        return _Run(chosen, Path(out), progress or (lambda _: None)).finish()
    finally:
        torch.set_num_threads(before)


def load_network(folder: str | Path) -> nn.Module:
    """Rebuild the network that ``train`` left in ``folder``, in eval mode; DataError if its files do not fit."""
    folder = Path(folder)
    record = checkpoints.read_json(folder / "network.json")
    network = build_model(record["model"], **record["options"])
    try:
        network.load_state_dict(checkpoints.load_tensors(folder / "network.pt"))
    except RuntimeError as error:
        raise DataError(f"{folder / 'network.pt'} does not fit {record['model']}: train again") from error
    return network.eval()


class _Run:
    """State of one training run."""

    def __init__(self, settings: Settings, folder: Path, report: Callable[[Progress], None]) -> None:
        self.settings, self.folder, self.report = settings, folder, report
        self.device, self.augment = choose_device(settings.device), find_augmentation(settings.augment)
        dataset = load(settings.data, settings.root or None)
        self.dataset: Dataset = holdout(dataset, settings.holdout) if settings.holdout else dataset
        options: dict[str, Any] = {"in_channels": dataset.channels, "num_classes": len(dataset.classes)}
        options |= {"pad_value": settings.pad_value}
        if settings.width:
            options["width"] = settings.width
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            self.network = build_model(settings.model, **options)
            self.objective: Objective = build_objective(self.network, settings).to(self.device)
        self.record = {"format": FORMAT, "model": settings.model, "options": options}
        self.optimizer = build_optimizer(self.objective, settings)
        self.images = torch.from_numpy(self.dataset.train_images).to(self.device)
        self.labels = torch.from_numpy(self.dataset.train_labels).to(self.device)
        self.mean = torch.tensor(self.dataset.mean, device=self.device).view(-1, 1, 1)
        self.std = torch.tensor(self.dataset.std, device=self.device).view(-1, 1, 1)
        self.epoch, self.step, self.seconds = 0, 0, 0.0
        self.totals = torch.zeros(3, dtype=torch.float64)  # loss·images, right answers, images of this epoch
        self.history: list[dict[str, float]] = []
        full, rest = divmod(len(self.labels), settings.batch_size)
        self.epoch_steps = full + (rest > 1)  # batch norm cannot learn from a batch of one
        self.steps = settings.epochs * self.epoch_steps
        self._resume()

    def finish(self) -> TrainResult:
        """Train what is left, evaluate once, and write the results."""
        clock = time.perf_counter()
        while self.epoch < self.settings.epochs:
            clock = self._train_epoch(clock)
        metrics = self._evaluate()
        checkpoints.save_tensors(self.folder / "network.pt", self.network.state_dict())
        checkpoints.write_json(self.folder / "network.json", self.record)
        checkpoints.write_json(self.folder / "metrics.json", metrics)
        return TrainResult(self.folder, metrics)

    def _train_epoch(self, clock: float) -> float:
        """Run the remaining steps of this epoch; returns the time up to which ``seconds`` counts."""
        settings = self.settings
        order = torch.randperm(len(self.labels), generator=_generator(settings.seed, 0, self.epoch)).to(self.device)
        totals = self.totals.to(self.device)
        self.objective.train()
        saved, started, first = clock, time.perf_counter(), self.step
        for step in range(self.step, self.epoch_steps):
            rows = order[step * settings.batch_size : (step + 1) * settings.batch_size]
            loss, hits = self._train_step(rows, self.epoch * self.epoch_steps + step)
            totals += torch.stack((loss * len(rows), hits, hits.new_tensor(len(rows))))
            self.step = step + 1
            now = time.perf_counter()
            rate = (self.step - first) / (now - started)
            left = (self.steps - self.epoch * self.epoch_steps - self.step) / rate
            self._tell(rate * settings.batch_size, left)
            if now - saved > CHECKPOINT_SECONDS:
                self.seconds, clock, saved = self.seconds + now - clock, now, now
                self.totals = totals.cpu()
                self._save()
        now = time.perf_counter()
        loss_sum, right, images = totals.tolist()
        self.seconds += now - clock
        metrics = {"epoch": self.epoch, "loss": loss_sum / images, "accuracy": right / images, "seconds": self.seconds}
        self._tell((self.step - first) * settings.batch_size / max(now - started, 1e-9), 0.0, metrics)
        self.history.append(metrics)
        self.epoch, self.step, self.totals = self.epoch + 1, 0, torch.zeros(3, dtype=torch.float64)
        self._save()
        return now

    def _train_step(self, rows: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """One optimiser step; returns loss and number of right answers as float64 scalars on the device."""
        settings, passed = self.settings, step / self.steps
        self.objective.set_progress(passed, step)
        for group in self.optimizer.param_groups:
            group["lr"] = settings.learning_rate * factor(settings.schedule, passed)
        images, labels = self.augment(self.images[rows], _generator(settings.seed, 1, step)), self.labels[rows]
        loss, logits = self.objective(self._normalise(images), labels)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        if settings.weight_limit:
            clamp_weights(self.network, settings.weight_limit)
        hits = (logits.detach().argmax(1) == labels).sum().double()
        return loss.detach().double(), hits

    def _normalise(self, images: Tensor) -> Tensor:
        """Do what :meth:`.data.Dataset.normalise` does, on the device."""
        return (images.float() / self.dataset.pixel_range - self.mean) / self.std

    def _tell(self, rate: float, seconds_left: float, metrics: dict[str, float] | None = None) -> None:
        self.report(
            Progress(self.epoch, self.settings.epochs, self.step, self.epoch_steps, rate, seconds_left, metrics)
        )

    def _evaluate(self) -> dict[str, Any]:
        """Measure both streams on the images that this run may look at; see :func:`train` for the names."""
        images = self._normalise(torch.from_numpy(self.dataset.test_images).to(self.device))
        labels = torch.from_numpy(self.dataset.test_labels).to(self.device)
        binary = accuracy(self.objective, self.network, images, labels)
        latent = None
        if self.objective.has_latent_stream:
            latent = accuracy(self.objective, self.objective.latent_logits, images, labels)
        found: dict[str, Any] = dict.fromkeys(
            ("training", "latent_stream", "validation", "validation_latent_stream"), None
        )
        if self.settings.holdout:
            found |= {"validation": binary, "validation_latent_stream": latent}
        else:
            found |= {"training": binary, "latent_stream": latent}
        last = self.history[-1]
        return found | {
            "epochs": self.settings.epochs,
            "loss": last["loss"],
            "train_accuracy": last["accuracy"],
            "images": len(labels),
            "dataset": self.dataset.name,
            "dataset_sha256": self.dataset.sha256,
            "seconds": round(self.seconds, 3),
        }

    def _save(self) -> None:
        """Write checkpoint and metrics; the lines of metrics.jsonl are never ahead of the checkpoint."""
        checkpoints.save_tensors(
            self.folder / "checkpoint.pt",
            {
                "format": FORMAT,
                "settings": self.settings.as_dict(),
                "dataset_sha256": self.dataset.sha256,
                "objective": self.objective.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "epoch": self.epoch,
                "step": self.step,
                "seconds": self.seconds,
                "totals": self.totals,
                "history": self.history,
            },
        )
        checkpoints.write_lines(self.folder / "metrics.jsonl", self.history)

    def _resume(self) -> None:
        """Continue from the checkpoint in the folder if it is of these settings and data."""
        path = self.folder / "checkpoint.pt"
        if not path.exists():
            return
        saved = checkpoints.load_tensors(path)
        if any(
            saved.get(name) != value
            for name, value in (
                ("format", FORMAT),
                ("settings", self.settings.as_dict()),
                ("dataset_sha256", self.dataset.sha256),
            )
        ):
            return
        self.objective.load_state_dict(saved["objective"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.epoch, self.step, self.seconds = saved["epoch"], saved["step"], saved["seconds"]
        self.totals, self.history = saved["totals"], saved["history"]


def _generator(*key: int) -> torch.Generator:
    """Return a CPU generator whose state follows from ``key`` alone."""
    (seed,) = np.random.SeedSequence(key).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(seed) >> 1)
