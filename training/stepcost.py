"""What a training step costs with each set of settings, relative to the first of them."""

import time
from collections.abc import Mapping
from typing import Any

import torch

from .run import TrainingRun
from .settings import Settings

__all__ = ["step_costs"]

WARM_UP = 3
ROUNDS = 12


def step_costs(variants: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Return seconds of a training step over those of the first variant, by the name of the variant.

    The variants take steps in turns, so that a disturbance of the machine meets all of them. Of each the mean over the
    steps is taken of one cycle of ``latent_every`` steps, the minimum over the cycles. On a CPU the time is that of the
    processor: waiting for other programs does not count.
    """
    before = torch.get_num_threads()
    runs: dict[str, TrainingRun] = {}
    best: dict[str, float] = dict.fromkeys(variants, float("inf"))
    try:
        for name, values in variants.items():
            runs[name] = TrainingRun(Settings.from_keywords(**values))
        torch.set_num_threads(next(iter(runs.values())).settings.threads or before)
        on_cpu = all(run.device.type == "cpu" for run in runs.values())
        clock = time.process_time if on_cpu else time.perf_counter
        for turn in range(WARM_UP + ROUNDS):
            for name, run in runs.items():
                cycle = run.settings.latent_every
                rows = torch.arange(run.settings.batch_size) % len(run.batches.labels)
                started = clock()
                for step in range(cycle):
                    run.train_step(rows, (turn * cycle + step) % run.steps)
                run.synchronise()
                if turn >= WARM_UP:
                    best[name] = min(best[name], (clock() - started) / cycle)
    finally:
        torch.set_num_threads(before)
    first = next(iter(best.values()))
    return {name: round(value / first, 3) for name, value in best.items()}
