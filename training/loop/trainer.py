"""Training from start to end: deterministic, resumable at any kill, the test set evaluated once at its end.

Randomness is stateless: the order of an epoch and every batch's augmentation follow from (seed, epoch, step), and the
learning rate from the step. A checkpoint therefore holds tensors and counters alone, and a resumed run repeats the
unbroken one bit for bit on a CPU with the same number of threads. With ``minutes`` the learning rate follows from a
clock instead (:mod:`.budget`), and no run repeats another.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...runtime.errors import ConfigError, DataError, first_line
from ...runtime.files import write_json
from ..settings import Settings
from . import checkpoints
from .budget import Minutes
from .curves import Curves
from .distributed import join
from .epochs import epoch_figures
from .evaluate import measure
from .loading import load_network
from .run import TrainingRun

__all__ = ["Progress", "TrainResult", "load_network", "train"]

CHECKPOINT_SECONDS = 60.0
"""Within a long epoch a checkpoint is written at this interval."""
CHECKPOINT_SHARE = 0.01
"""At the end of an epoch one is written too, but where that would take a larger share of the time than this."""
FORMAT = 2
EVALUATED = 500
"""Images on which the time of the final evaluation is estimated."""
CLOSING_SECONDS = 0.25
"""Kept besides for what is not measured: closing the run and writing small files."""


@dataclass(frozen=True)
class Progress:
    """What the progress callback is told after every step; ``metrics`` is filled at the end of an epoch.

    With ``train.minutes`` the number of ``epochs`` is what the pace so far promises.
    """

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
    an epoch), checkpoint.pt. A checkpoint of the same settings is resumed, of others replaced; with ``minutes`` a
    resumed run spends what is left of them.
    metrics.json: ``test_accuracy`` is the binary network's on the test images, measured once, at the end, and
    ``latent_test_accuracy`` that of the latent stream or null. With ``holdout`` > 0 the two are null, and
    ``validation_accuracy`` and ``latent_validation_accuracy`` are measured on the held-out training images instead.
    Accuracies are null where the outputs are no class scores. ``metrics`` and ``latent_metrics`` hold the figures of
    ``metric`` on the same images, if there is one.
    """
    chosen = Settings.from_keywords(**settings)
    group, device = join(chosen.device)
    before = torch.get_num_threads()
    torch.set_num_threads(chosen.threads or before)
    try:
        report = progress if progress is not None and group.leads else _silent
        return _Trainer(TrainingRun(chosen, group, device), Path(out), report).finish()
    finally:
        torch.set_num_threads(before)


def _silent(progress: Progress) -> None:
    """Tell nobody."""


class _Trainer:
    """Epochs, checkpoints and results of one run."""

    def __init__(self, run: TrainingRun, folder: Path, report: Callable[[Progress], None]) -> None:
        self.run, self.settings, self.folder, self.report = run, run.settings, folder, report
        self.epoch, self.step, self.seconds = 0, 0, 0.0
        self.saved, self.saving = time.perf_counter(), 0.0  # when the last checkpoint was written, and how long it took
        self.totals = torch.zeros(3, dtype=torch.float64)  # loss·samples, right answers, samples of this epoch
        self.history: list[dict[str, float]] = []
        self._resume()
        writes = self.settings.tensorboard and run.group.leads
        self.curves = Curves(folder / "tensorboard", self.epoch) if writes else None

    def finish(self) -> TrainResult:
        """Train what is left, evaluate once, and write the results."""
        budget = self.run.budget
        if isinstance(budget, Minutes) and budget.steps_left(0):
            self._save()
            budget.keep(self._closing_seconds())
        clock = time.perf_counter()
        while budget.steps_left(self._taken()):
            clock = self._train_epoch(clock)
        if not self.run.group.leads:
            self.run.group.wait()
            return TrainResult(self.folder, checkpoints.read_json(self.folder / "metrics.json"))
        self.run.close()
        metrics = self._evaluate()
        if self.curves is not None:
            self.curves.close()
        record = {"format": FORMAT, "model": self.settings.model, "options": self.run.options}
        if self.settings.named("model"):
            record["code"] = self.settings.code
        checkpoints.save_tensors(self.folder / "network.pt", self.run.network.state_dict())
        write_json(self.folder / "network.json", record)
        write_json(self.folder / "metrics.json", metrics)
        self.run.group.wait()
        return TrainResult(self.folder, metrics)

    def _train_epoch(self, clock: float) -> float:
        """Run the remaining steps of this epoch; returns the time up to which ``seconds`` counts."""
        run, size, steps, budget = self.run, self.settings.batch_size, self.run.batches.steps, self.run.budget
        order = run.batches.order(self.epoch)
        totals = self.totals.to(run.device)
        run.objective.train()
        started, first = time.perf_counter(), self.step
        for step in range(self.step, steps):
            totals += run.train_step(order[step * size : (step + 1) * size], self._taken())
            budget.spend()
            self.step = step + 1
            now = time.perf_counter()
            rate = (self.step - first) / (now - started)
            left = budget.steps_left(self._taken())
            self._tell(rate * size, left / rate)
            if not left:
                break
            if now - self.saved > CHECKPOINT_SECONDS:
                self.seconds, clock = self.seconds + now - clock, now
                self.totals = totals.cpu()
                self._save()
        loss_sum, right, images = run.group.total(totals).tolist()
        if not math.isfinite(loss_sum):
            raise ConfigError(
                f"the loss is no number any more in epoch {self.epoch}: lower train.learning_rate or set train.clip = 1"
            )
        now = time.perf_counter()
        self.seconds += now - clock
        metrics = {"epoch": self.epoch, "loss": loss_sum / images, "seconds": self.seconds}
        if run.measures.classes:
            metrics["accuracy"] = right / images
        metrics |= epoch_figures(run, order, self._taken())
        self._tell((self.step - first) * size / max(now - started, 1e-9), 0.0, metrics)
        self.history.append(metrics)
        if self.curves is not None:
            self.curves.add(metrics)
        if self.step == steps:
            self.epoch, self.step = self.epoch + 1, 0
        self.totals = torch.zeros(3, dtype=torch.float64)
        last = not budget.steps_left(self._taken())
        if last or now - self.saved >= min(CHECKPOINT_SECONDS, self.saving / CHECKPOINT_SHARE):
            self._save()
        return now

    def _taken(self) -> int:
        """Return the steps that this run has taken."""
        return self.epoch * self.run.batches.steps + self.step

    def _closing_seconds(self) -> float:
        """Return what the evaluation and the last files will take, measured; a quarter more, as machines are shared."""
        run = self.run
        streams: list[Callable[[Tensor], Any]] = [
            run.network,
            *([run.objective.latent_logits] if run.objective.has_latent_stream else []),
        ]
        seconds = 0.0
        for stream in streams:
            for _ in range(2):  # the first time finds algorithms and fills caches
                started = time.perf_counter()
                measure(run.objective, stream, run.batches.test_parts(EVALUATED), classes=run.measures.classes)
                once = time.perf_counter() - started
            seconds += once * max(1.0, run.batches.tested / EVALUATED)
        return 1.25 * (seconds + 2 * self.saving) + CLOSING_SECONDS

    def _tell(self, rate: float, seconds_left: float, metrics: dict[str, float] | None = None) -> None:
        self.report(
            Progress(self.epoch, self._epochs(), self.step, self.run.batches.steps, rate, seconds_left, metrics)
        )

    def _epochs(self) -> int:
        """Return the number of epochs, with ``minutes`` as the pace so far promises it."""
        total = self._taken() + self.run.budget.steps_left(self._taken())
        return (
            max(self.epoch + 1, math.ceil(total / self.run.batches.steps)) if math.isfinite(total) else self.epoch + 1
        )

    def _evaluate(self) -> dict[str, Any]:
        """Measure both streams on the images that this run may look at; see :func:`train` for the names."""
        run, objective = self.run, self.run.objective
        streams: list[Callable[[Tensor], Any]] = [
            run.network,
            *([objective.latent_logits] if objective.has_latent_stream else []),
        ]
        measured = [
            measure(
                objective, stream, run.batches.test_parts(), classes=run.measures.classes, metric=run.measures.metric
            )
            for stream in streams
        ]
        names = ("test_accuracy", "latent_test_accuracy", "validation_accuracy", "latent_validation_accuracy")
        found: dict[str, Any] = dict.fromkeys(names)
        first = 2 if self.settings.holdout else 0
        found |= {name: each.accuracy for name, each in zip(names[first:], measured, strict=False)}
        if run.measures.metric is not None:
            found |= {name: each.metrics for name, each in zip(("metrics", "latent_metrics"), measured, strict=False)}
        last = self.history[-1]
        return found | {
            "epochs": round(self._taken() / run.batches.steps, 2) if self.settings.minutes else self.settings.epochs,
            "steps": self._taken(),
            "loss": last["loss"],
            "train_accuracy": last.get("accuracy"),
            "images": run.batches.tested,
            "dataset": run.dataset.name,
            "dataset_sha256": run.dataset.sha256,
            "seconds": round(self.seconds, 3),
            "images_per_second": round(self._taken() * self.settings.batch_size / max(self.seconds, 1e-9), 1),
            "budget_minutes": self.settings.minutes or None,
        }

    def _save(self) -> None:
        """Write checkpoint and metrics; the lines of metrics.jsonl are never ahead of the checkpoint."""
        if not self.run.group.leads:
            return
        started = time.perf_counter()
        checkpoints.save_tensors(
            self.folder / "checkpoint.pt",
            self._identity()
            | self.run.state()
            | {
                "epoch": self.epoch,
                "step": self.step,
                "seconds": self.seconds,
                "totals": self.totals,
                "history": self.history,
            },
        )
        checkpoints.write_lines(self.folder / "metrics.jsonl", self.history)
        self.saved = time.perf_counter()
        self.saving = self.saved - started

    def _identity(self) -> dict[str, Any]:
        """What a checkpoint must agree in to be resumed; the user's code by its sources, wherever it lies."""
        sources = self.settings.source_digests()
        return {
            "format": FORMAT,
            "settings": self._settled(self.settings.as_dict()),
            "dataset_sha256": self.run.dataset.sha256,
        } | ({"sources": sources} if sources else {})

    def _settled(self, settings: dict[str, Any]) -> dict[str, Any]:
        """Return settings without what tells no two trainings apart: beside minutes, epochs count for nothing."""
        return settings | {"code": ""} | ({"epochs": 0} if settings["minutes"] else {})

    def _resume(self) -> None:
        """Continue from the checkpoint in the folder if it is of these settings and data."""
        path = self.folder / "checkpoint.pt"
        if not path.exists():
            return
        saved = checkpoints.load_tensors(path)
        try:
            # An option that came later had its default.
            saved["settings"] = self._settled(Settings().as_dict() | saved["settings"])
            if any(saved.get(name) != value for name, value in self._identity().items()):
                return
            self.run.restore(saved)
            self.epoch, self.step, self.seconds = int(saved["epoch"]), int(saved["step"]), float(saved["seconds"])
            self.totals, self.history = saved["totals"], saved["history"]
        except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
            raise DataError(
                f"{path} does not fit this training ({first_line(error)}): delete it and train again"
            ) from error
