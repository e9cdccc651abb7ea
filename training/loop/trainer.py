"""Training from start to end: deterministic, resumable at any kill, the test set evaluated once at its end.

Randomness is stateless: the order of an epoch and every batch's augmentation follow from (seed, epoch, step), and the
learning rate from the step. A checkpoint therefore holds tensors and counters alone, and a resumed run repeats the
unbroken one bit for bit on a CPU with the same number of threads.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ...runtime.errors import ConfigError
from ..settings import Settings
from . import checkpoints
from .curves import Curves
from .distributed import join
from .evaluate import accuracy
from .loading import load_network
from .run import TrainingRun

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
    metrics.json: ``test_accuracy`` is the binary network's on the test images, measured once, at the end, and
    ``latent_test_accuracy`` that of the latent stream or null. With ``holdout`` > 0 the two are null, and
    ``validation_accuracy`` and ``latent_validation_accuracy`` are measured on the held-out training images instead.
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
        self.totals = torch.zeros(3, dtype=torch.float64)  # loss·images, right answers, images of this epoch
        self.history: list[dict[str, float]] = []
        self._resume()
        writes = self.settings.tensorboard and run.group.leads
        self.curves = Curves(folder / "tensorboard", self.epoch) if writes else None

    def finish(self) -> TrainResult:
        """Train what is left, evaluate once, and write the results."""
        clock = time.perf_counter()
        while self.epoch < self.settings.epochs:
            clock = self._train_epoch(clock)
        if not self.run.group.leads:
            self.run.group.wait()
            return TrainResult(self.folder, checkpoints.read_json(self.folder / "metrics.json"))
        self.run.close()
        metrics = self._evaluate()
        if self.curves is not None:
            self.curves.close()
        record = {"format": FORMAT, "model": self.settings.model, "options": self.run.options}
        checkpoints.save_tensors(self.folder / "network.pt", self.run.network.state_dict())
        checkpoints.write_json(self.folder / "network.json", record)
        checkpoints.write_json(self.folder / "metrics.json", metrics)
        self.run.group.wait()
        return TrainResult(self.folder, metrics)

    def _train_epoch(self, clock: float) -> float:
        """Run the remaining steps of this epoch; returns the time up to which ``seconds`` counts."""
        run, size, steps = self.run, self.settings.batch_size, self.run.batches.steps
        order = run.batches.order(self.epoch)
        totals = self.totals.to(run.device)
        run.objective.train()
        saved, started, first = clock, time.perf_counter(), self.step
        for step in range(self.step, steps):
            totals += run.train_step(order[step * size : (step + 1) * size], self.epoch * steps + step)
            self.step = step + 1
            now = time.perf_counter()
            rate = (self.step - first) / (now - started)
            self._tell(rate * size, (run.steps - self.epoch * steps - self.step) / rate)
            if now - saved > CHECKPOINT_SECONDS:
                self.seconds, clock, saved = self.seconds + now - clock, now, now
                self.totals = totals.cpu()
                self._save()
        loss_sum, right, images = run.group.total(totals).tolist()
        if not math.isfinite(loss_sum):
            raise ConfigError(
                f"the loss is no number any more in epoch {self.epoch}: lower train.learning_rate or set train.clip = 1"
            )
        now = time.perf_counter()
        self.seconds += now - clock
        metrics = {"epoch": self.epoch, "loss": loss_sum / images, "accuracy": right / images, "seconds": self.seconds}
        self._tell((self.step - first) * size / max(now - started, 1e-9), 0.0, metrics)
        self.history.append(metrics)
        if self.curves is not None:
            self.curves.add(metrics)
        self.epoch, self.step, self.totals = self.epoch + 1, 0, torch.zeros(3, dtype=torch.float64)
        self._save()
        return now

    def _tell(self, rate: float, seconds_left: float, metrics: dict[str, float] | None = None) -> None:
        self.report(
            Progress(self.epoch, self.settings.epochs, self.step, self.run.batches.steps, rate, seconds_left, metrics)
        )

    def _evaluate(self) -> dict[str, Any]:
        """Measure both streams on the images that this run may look at; see :func:`train` for the names."""
        run = self.run
        objective, batches = run.objective, run.batches
        images, labels = batches.test()
        binary = accuracy(objective, lambda part: run.network(batches.normalise(part)), images, labels)
        latent = None
        if objective.has_latent_stream:
            latent = accuracy(objective, lambda part: objective.latent_logits(batches.normalise(part)), images, labels)
        names = ("test_accuracy", "latent_test_accuracy", "validation_accuracy", "latent_validation_accuracy")
        found: dict[str, Any] = dict.fromkeys(names)
        first = 2 if self.settings.holdout else 0
        found |= dict(zip(names[first : first + 2], (binary, latent), strict=True))
        last = self.history[-1]
        return found | {
            "epochs": self.settings.epochs,
            "loss": last["loss"],
            "train_accuracy": last["accuracy"],
            "images": len(labels),
            "dataset": run.dataset.name,
            "dataset_sha256": run.dataset.sha256,
            "seconds": round(self.seconds, 3),
        }

    def _save(self) -> None:
        """Write checkpoint and metrics; the lines of metrics.jsonl are never ahead of the checkpoint."""
        if not self.run.group.leads:
            return
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

    def _identity(self) -> dict[str, Any]:
        """What a checkpoint must agree in to be resumed."""
        return {
            "format": FORMAT,
            "settings": self.settings.as_dict(),
            "dataset_sha256": self.run.dataset.sha256,
        }

    def _resume(self) -> None:
        """Continue from the checkpoint in the folder if it is of these settings and data."""
        path = self.folder / "checkpoint.pt"
        if not path.exists():
            return
        saved = checkpoints.load_tensors(path)
        if any(saved.get(name) != value for name, value in self._identity().items()):
            return
        self.run.restore(saved)
        self.epoch, self.step, self.seconds = saved["epoch"], saved["step"], saved["seconds"]
        self.totals, self.history = saved["totals"], saved["history"]
