"""What a training step costs with each latent variant, and the part of it that no overhead explains.

    python -m bench.training_steps [--runs 20] [--out bench/results]

Writes training_steps: milliseconds of a step of every variant, taken in turns (training/studies/stepcost.py). And
training_floor: the convolutions and batch norms of one step, recorded with their tensors and run again in their order
with nothing between them: with these layers a step cannot take less. One thread, CPU time, batches of 64; CIFAR-10 is
found through LATENTBIT_DATA.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from latentbit.training.loop.run import TrainingRun
from latentbit.training.settings import Settings
from latentbit.training.studies.stepcost import step_times

from .harness.report import RESULTS, write_report
from .harness.timing import milliseconds

NETWORKS: dict[str, dict[str, Any]] = {
    "digits_resnet": {"data": "digits", "model": "digits_resnet", "augment": "shift1"},
    "resnet20, CIFAR-10": {"data": "cifar10", "model": "resnet20", "augment": "crop4_flip"},
}
VARIANTS: dict[str, dict[str, Any]] = {
    "none": {"latent": "none"},
    "L1": {"latent": "L1"},
    "L1, half the batch": {"latent": "L1", "latent_share": 0.5},
    "L1, every 2nd step": {"latent": "L1", "latent_every": 2},
    "L1, every 3rd step": {"latent": "L1", "latent_every": 3},
    "L2": {"latent": "L2"},
    "L3": {"latent": "L3"},
    "L4": {"latent": "L4"},
    "L5": {"latent": "L5"},
}
PARTS = {
    "convolution": "convolutions, forward",
    "convolution_backward": "convolutions, backward",
    "native_batch_norm": "batch norms, forward",
    "native_batch_norm_backward": "batch norms, backward",
}


class Recorder(TorchDispatchMode):
    """Keeps the calls of the operators in PARTS, with their arguments."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[str, Callable[[], object]]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        part = PARTS.get(func.overloadpacket.__name__)
        if part is not None:
            self.calls.append((part, lambda: func(*args, **(kwargs or {}))))
        return func(*args, **(kwargs or {}))


def floor(settings: dict[str, Any], runs: int) -> dict[str, list[float]]:
    """Return milliseconds of the parts of a step, each call run alone."""
    run, rows = TrainingRun(Settings.from_keywords(**settings)), torch.arange(64)
    with Recorder() as recorder:
        run.train_step(rows, 0)
    times: dict[str, list[float]] = {part: [] for part in PARTS.values()}
    with torch.no_grad():
        for turn in range(-2, runs):
            sums = dict.fromkeys(times, 0.0)
            for part, call in recorder.calls:
                sums[part] += milliseconds(call)
            for part, value in sums.items():
                if turn >= 0:
                    times[part].append(value)
    return times


def main() -> None:
    """Measure both networks, print and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    steps, parts = {}, {}
    for name, network in NETWORKS.items():
        settings = {variant: network | values for variant, values in VARIANTS.items()}
        seconds = step_times(settings, options.runs)
        steps[name] = {variant: [1e3 * value for value in times] for variant, times in seconds.items()}
        for variant in ("none", "L1"):
            parts[f"{name}, {variant}"] = floor(settings[variant], options.runs) | {"whole step": steps[name][variant]}
    title = "A training step, one thread, milliseconds"
    write_report(options.out / "training_steps", title, steps, "none", digits=1, ratio_digits=2)
    title = "Its convolutions and batch norms alone, milliseconds"
    write_report(options.out / "training_floor", title, parts, "whole step", digits=1, ratios=False)


if __name__ == "__main__":
    main()
