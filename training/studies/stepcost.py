"""What a training step costs with each set of settings, relative to the first of them."""

import time
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import torch

from ..loop.run import TrainingRun
from ..settings import Settings

__all__ = ["phases", "step_costs", "step_times"]

WARM_UP = 3
ROUNDS = 12


def step_times(variants: Mapping[str, Mapping[str, Any]], rounds: int = ROUNDS) -> dict[str, list[float]]:
    """Return seconds of a training step, ``rounds`` times, by the name of the variant.

    The variants take steps in turns, so that a disturbance of the machine meets all of them. Of each the mean over the
    steps is taken of one cycle of ``latent_every`` steps, in every part of the schedule in which steps are alike
    (:func:`phases`), weighted by its length. On a CPU the time is that of the processor: waiting for other programs
    does not count.
    """
    before = torch.get_num_threads()
    runs: dict[str, TrainingRun] = {}
    times: dict[str, list[float]] = {name: [] for name in variants}
    try:
        for name, values in variants.items():
            runs[name] = TrainingRun(Settings.from_keywords(**values))
        torch.set_num_threads(next(iter(runs.values())).settings.threads or before)
        on_cpu = all(run.device.type == "cpu" for run in runs.values())
        clock = time.process_time if on_cpu else time.perf_counter
        for turn in range(WARM_UP + rounds):
            for name, run in runs.items():
                cycle, total = run.settings.latent_every, run.settings.epochs * run.batches.steps
                rows = torch.arange(run.settings.batch_size) % run.batches.count
                mean = 0.0
                for begin, end in phases(run.settings):
                    middle = int((begin + end) / 2 * total)
                    started = clock()
                    for step in range(middle, middle + cycle):
                        run.train_step(rows, step)
                    run.synchronise()
                    mean += (end - begin) * (clock() - started) / cycle
                if turn >= WARM_UP:
                    times[name].append(mean)
    finally:
        torch.set_num_threads(before)
    return times


def phases(settings: Settings) -> list[tuple[float, float]]:
    """Return the parts [begin, end) of the schedule in which every step, or cycle of them, does the same work."""
    turns = {0.0, *settings.turns, settings.latent_from, settings.latent_until, 1.0}
    if settings.latent in ("L3", "L5"):
        turns.add(settings.fade)
    return list(pairwise(sorted(turns)))


def step_costs(variants: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Return the least seconds of a training step over those of the first variant, by the name of the variant."""
    best = {name: min(times) for name, times in step_times(variants).items()}
    first = next(iter(best.values()))
    return {name: round(value / first, 3) for name, value in best.items()}
