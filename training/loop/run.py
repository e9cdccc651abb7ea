"""One training run in memory: network, objective, optimiser, data, and the step that moves them."""

from typing import Any

import torch
from torch import Tensor, nn

from ...runtime.errors import ConfigError, LatentbitError
from ...runtime.imported import explain
from ..data.augment import find_augmentation
from ..data.batches import make_batches
from ..data.catalogue import check_name, open_data
from ..data.dataset import Dataset
from ..data.own import OwnData
from ..latent.objectives import Objective, build_objective
from ..layers.binary import RSign
from ..layers.stages import bake, set_bits
from ..layers.weights import choose_weights
from ..models.catalogue import build_model, model_options
from ..settings import Settings, table_of
from .averages import MovingAverage
from .budget import Budget, Minutes, Steps
from .distributed import Group
from .loading import load_network, start_from
from .measures import Measures, find_measures
from .optimize import build_optimizer, choose_device, clamp_weights, set_stage
from .schedules import factor
from .silent import SilentWeights

__all__ = ["TrainingRun", "check_names", "choose_model_options"]

PROBED = 64
"""Samples that are looked at before a network of the user's is trained on others."""
TRIED = 1 << 16
"""Values of their inputs, about, that the network is tried on: of large images two are enough, and take seconds."""
PRECISIONS = table_of("precision", {"bf16": torch.bfloat16, "float32": None, "fp16": torch.float16})


def choose_model_options(settings: Settings, data: Dataset | OwnData) -> dict[str, Any]:
    """Return what the network is built with: what the data ask for, and the options that were set.

    ConfigError for an option that was set, which the network does not have.
    """
    known = model_options(settings.model, settings.code)
    shape = data.test_images.shape[1:] if isinstance(data, Dataset) else data.read(data.test, [0])[0].shape[1:]
    options: dict[str, Any] = {"in_channels": shape[0]}
    if "any" in known or "num_classes" in known:
        options["num_classes"] = len(data.classes if isinstance(data, Dataset) else data.classes())
    options["image_size"] = shape[-1]
    options = {name: value for name, value in options.items() if name in known or "any" in known}
    chosen = {name: getattr(settings, name) for name in ("width", "pad_value", "stem", "downsample", "block", "norm")}
    return options | {name: value for name, value in chosen.items() if value}


def check_names(settings: Settings) -> None:
    """Raise ConfigError for what can be refused before any data are read: names that are none, functions that fail.

    Modules of the user's are imported.
    """
    named = settings.named()
    model_options(settings.model, settings.code)
    if "data" not in named:
        check_name(settings.data)
    for option in ("data", "loss", "metric"):
        if option in named or (option != "data" and getattr(settings, option)):
            settings.import_function(option)
    find_augmentation(settings.augment, code=settings.code)
    choose_device(settings.device)


class TrainingRun:
    """Everything of a run that lives in memory. The global random state is left as it was."""

    def __init__(self, settings: Settings, group: Group | None = None, device: str = "") -> None:
        clock = Minutes(60 * settings.minutes)  # from here on: loading and compiling are part of the time
        self.settings, self.group = settings, group or Group()
        if settings.minutes and self.group.world > 1:
            raise ConfigError(
                "train.minutes is for one process: several would end at different steps; set train.epochs"
            )
        self.device = choose_device(device or settings.device)
        if self.device.type == "cuda":
            torch.backends.cudnn.benchmark = True  # shapes never change: the quickest convolution is worth finding
            torch.backends.cudnn.allow_tf32 = False  # float32 is float32: the evaluation is that of a CPU
        self.dataset = open_data(settings)
        self.batches = make_batches(
            self.dataset,
            size=settings.batch_size,
            augment=settings.augment,
            code=settings.code,
            seed=settings.seed,
            device=self.device,
            whole=settings.compile,
            processes=self.group.world,
        )
        self.budget: Budget = clock if settings.minutes else Steps(settings.epochs * self.batches.steps)
        self.options = choose_model_options(settings, self.dataset)
        self.network, self.objective = self._build()
        self.teacher = self._load_teacher()
        self.optimizer = build_optimizer(self.objective, settings)
        self.average = MovingAverage(self.objective, settings.ema) if settings.ema else None
        watched = settings.silent_scale > 0 or settings.silent_decay > 0
        self.silent = (
            SilentWeights(self.network, scale=settings.silent_scale, decay=settings.silent_decay) if watched else None
        )
        self.call = self.group.wrap(self.objective, self.device, unused=self.objective.leaves_unused)
        if settings.compile:
            self.call = torch.compile(self.call, dynamic=False)  # type: ignore[assignment]
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=settings.precision == "fp16")

    def _build(self) -> tuple[nn.Module, Objective]:
        settings = self.settings
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            network = build_model(settings.model, code=settings.code, **self.options)
            self.measures = Measures()
            if settings.named() or settings.loss or settings.metric:
                inputs, targets = next(self.batches.test_parts(PROBED))
                tried = inputs[: max(2, TRIED // max(inputs[0].numel(), 1))].cpu()
                self.measures = find_measures(settings, network, tried, targets)
            if settings.start:
                start_from(network, settings.start)
            choose_weights(network, estimator=settings.weight_estimator, regulariser=settings.weight_regulariser)
            for layer in network.modules():
                if isinstance(layer, RSign):
                    layer.choose(settings.activation_estimator)
                    if settings.thresholds == "fixed":  # what a network of the user's has frozen stays so
                        layer.threshold.requires_grad_(False)
            objective = build_objective(network, settings, self.measures.loss).to(self.device)
        if settings.channels_last and all(parameter.dim() < 5 for parameter in objective.parameters()):
            objective.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return network, objective

    def _load_teacher(self) -> nn.Module | None:
        if not self.settings.teacher:
            return None
        return load_network(self.settings.teacher).requires_grad_(False).to(self.device)

    def train_step(self, rows: Tensor, step: int) -> Tensor:
        """Take optimiser step number ``step`` on these rows of the training data (of all processes together).

        Returns float64 ``[3]`` on the device, of this process's part: loss times samples, right answers (0 where
        outputs are no class scores), samples.
        """
        settings = self.settings
        self._enter(step)
        images, labels = self.batches.get(self.group.part(rows), step, self.group.rank)
        if settings.channels_last and images.dim() == 4:
            images = images.contiguous(memory_format=torch.channels_last)
        dtype = PRECISIONS[settings.precision]
        with torch.autocast(self.device.type, dtype=dtype, enabled=dtype is not None):
            with torch.no_grad():
                lesson = None if self.teacher is None else self.teacher(images)
            loss, logits = self._loss(images, labels, lesson)
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        if settings.clip or self.silent is not None:
            self.scaler.unscale_(self.optimizer)
        if self.silent is not None:
            self.silent.change_gradients()
        if settings.clip:
            nn.utils.clip_grad_norm_(self.objective.parameters(), settings.clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if settings.weight_limit:
            clamp_weights(self.network, settings.weight_limit)
        if self.average is not None:
            self.average.update(step)
        total = loss.detach().double()
        count = torch.full_like(total, len(images))
        hits = (
            (logits.detach().argmax(1) == labels).sum().double() if self.measures.classes else torch.zeros_like(total)
        )
        return torch.stack((total * count, hits, count))

    def _loss(self, inputs: Tensor, targets: Any, lesson: Tensor | None) -> tuple[Tensor, Any]:
        """Return loss and outputs; ConfigError says in one line what failed in the user's network or loss."""
        try:
            found: tuple[Tensor, Any] = self.call(inputs, targets, lesson)
        except LatentbitError:
            raise
        except Exception as error:
            if not self.settings.named("model", "data", "loss"):
                raise
            raise ConfigError(f"training {self.settings.model} failed: {explain(error)}") from error
        return found

    def _enter(self, step: int) -> None:
        """Set what depends on the place in the schedule: learning rate, stage, strength of the latent branch."""
        settings, passed = self.settings, self.budget.passed(step)
        self.objective.set_progress(passed, step)
        begins = max((turn for turn in settings.turns if turn <= passed), default=0.0)
        ends, weights, activations = next(stage for stage in settings.stages if passed < stage[0] or stage[0] == 1)
        if settings.turns:
            set_bits(self.network, weights=weights, activations=activations)
            if begins and self.budget.before(step) < begins:
                self.optimizer.state.clear()  # a stage starts with no momentum of the one before
        decay = 0.0 if weights == 1 and settings.turns else settings.weight_decay
        within = (passed - begins) / (ends - begins)
        set_stage(self.optimizer, settings.learning_rate * factor(settings.schedule, within), decay)

    def close(self) -> None:
        """Leave the network as it is to be measured and kept: averaged, binary, without a regulariser."""
        if self.average is not None:
            self.average.apply()
        self.objective.set_progress(1.0, 0)
        bake(self.network)

    def state(self) -> dict[str, Any]:
        """Return all tensors and counters from which :meth:`restore` continues."""
        found = {
            "objective": self.objective.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "budget": self.budget.state(),
        }
        if self.silent is not None:
            found["silent"] = self.silent.state()
        if self.average is not None:
            found["average"] = self.average.values
        return found

    def restore(self, state: dict[str, Any]) -> None:
        """Take in what :meth:`state` returned."""
        self.objective.load_state_dict(state["objective"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        self.budget.restore(state["budget"])
        if self.silent is not None:
            self.silent.restore(state["silent"])
        if self.average is not None:
            self.average.load(state["average"])

    def synchronise(self) -> None:
        """Wait for the device."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
