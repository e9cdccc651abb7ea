"""A schedule by the clock: it ends in time, is straight where steps are equal, and survives stalls and restarts."""

import itertools
import json
import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latentbit.runtime.errors import ConfigError
from latentbit.training.loop import run as run_module
from latentbit.training.loop import trainer
from latentbit.training.loop.budget import Minutes, Steps
from latentbit.training.loop.distributed import Group
from latentbit.training.loop.loading import load_network
from latentbit.training.loop.run import TrainingRun
from latentbit.training.loop.trainer import Progress, train
from latentbit.training.settings import Settings

QUICK = {"width": 4, "batch_size": 128, "threads": 1, "latent": "none"}


class Clock:
    """A clock that the test turns."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def spend(budget: Minutes, clock: Clock, seconds: float) -> None:
    clock.now += seconds
    budget.spend()


def test_steps_are_counted() -> None:
    budget = Steps(8)
    assert [budget.passed(step) for step in (0, 2, 8)] == [0, 0.25, 1]
    assert (budget.before(0), budget.before(4)) == (-0.125, 0.375)
    assert [budget.steps_left(step) for step in (0, 7, 8)] == [8, 1, 0]


@settings(deadline=None)
@given(step=st.floats(0.001, 1.0), count=st.integers(20, 2000), start=st.floats(0, 30), reserve=st.floats(0, 30))
def test_equal_steps_pass_in_a_straight_line_and_end_in_time(
    step: float, count: int, start: float, reserve: float
) -> None:
    clock = Clock()
    budget = Minutes(start + reserve + step * count, clock)
    clock.now += start
    budget.keep(reserve)
    taken = 0
    while budget.steps_left(taken):
        spend(budget, clock, step)
        taken += 1
        if 10 < taken < count - 10:
            # The steps that are not measured yet leave the line a few steps behind.
            assert budget.passed(taken) == pytest.approx(taken / count, abs=6 / count)
    assert budget.passed(taken) == 1
    assert abs(taken - count) <= 1
    assert budget.left() > -step


@settings(deadline=None)
@given(st.lists(st.floats(0.01, 0.1), min_size=10, max_size=30), st.integers(10, 100), st.floats(1, 5))
def test_uneven_steps_and_a_stall_still_end_in_time(steps: list[float], place: int, stall: float) -> None:
    clock = Clock()
    budget = Minutes(40.0, clock)
    budget.keep(2.0)
    taken, shares = 0, [0.0]
    while budget.steps_left(taken):
        spend(budget, clock, steps[taken % len(steps)] + (stall if taken == place else 0))
        taken += 1
        shares.append(budget.passed(taken))
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert -0.2 < budget.left() < 0.2
    # Nothing jumps: what a step adds is about its part of what was left, but for the very last.
    added = [after - before for before, after in itertools.pairwise(shares[:-1])]
    assert max(added) < 0.05


def test_a_restart_spends_what_is_left() -> None:
    clock = Clock()
    first = Minutes(10.0, clock)
    first.keep(1.0)
    for _ in range(40):
        spend(first, clock, 0.1)
    state = first.state()
    clock.now += 1000  # the machine was off
    second = Minutes(10.0, clock)
    second.restore(state)
    second.keep(1.0)
    assert second.passed(0) == first.passed(0)
    taken = 0
    while second.steps_left(taken):
        spend(second, clock, 0.1)
        taken += 1
    assert taken == pytest.approx(50, abs=1)


def test_too_little_time_is_refused_with_what_is_needed() -> None:
    clock = Clock()
    budget = Minutes(6.0, clock)
    clock.now += 5
    with pytest.raises(ConfigError, match=r"train.minutes = 0.1 is too short: starting took 5.0 s, .* need 2.0 s"):
        budget.keep(2.0)


def test_several_processes_cannot_share_a_clock() -> None:
    with pytest.raises(ConfigError, match=r"train.minutes is for one process"):
        TrainingRun(Settings.from_keywords(minutes=1.0), Group(rank=0, world=2))


def test_negative_minutes_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"train\.minutes must not be negative"):
        Settings.from_keywords(minutes=-1.0)


def test_a_run_by_the_clock_says_what_it_did_and_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that moves 0.1 s a step stands for the machine's: 30 s hold some three hundred steps, less the rest."""
    clock = Clock()
    monkeypatch.setattr(run_module, "Minutes", lambda seconds: Minutes(seconds, clock))
    monkeypatch.setattr(trainer, "CHECKPOINT_SECONDS", 0.0)  # a checkpoint after every step: nothing is lost
    # What the end takes is measured by the machine's clock: here it is one second, so that each run is the same.
    monkeypatch.setattr(trainer._Trainer, "_closing_seconds", lambda self: 1.0)
    told: list[Progress] = []

    def progress(event: Progress) -> None:
        clock.now += 0.1 if event.metrics is None else 0.0
        told.append(event)
        if len(told) == 100:
            raise InterruptedError

    options = {**QUICK, "minutes": 0.5, "learning_rate": 0.01}
    with pytest.raises(InterruptedError):
        train(out=tmp_path, progress=progress, **options)
    metrics = train(out=tmp_path, progress=progress, **options).metrics
    assert metrics["budget_minutes"] == 0.5
    assert metrics["steps"] == pytest.approx(290, abs=3)
    assert metrics["epochs"] == pytest.approx(metrics["steps"] / 10, abs=0.01)
    losses = [json.loads(line)["loss"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert len(losses) == math.ceil(metrics["epochs"])
    assert losses[-1] < 0.9 * losses[0]
    assert clock.now == pytest.approx(130, abs=1)
    again = train(out=tmp_path, progress=progress, **options | {"epochs": 7}).metrics  # which count for nothing here
    assert again["steps"] == metrics["steps"]


def test_a_run_starts_from_the_weights_of_another(tmp_path: Path) -> None:
    first = train(out=tmp_path / "first", epochs=2, **QUICK).folder
    begun = TrainingRun(Settings.from_keywords(start=str(first), **QUICK))
    expected = load_network(first).state_dict()
    assert all((value == expected[name]).all() for name, value in begun.network.state_dict().items())
    with pytest.raises(ConfigError, match=r"train.start = .* holds another network than train.model"):
        TrainingRun(Settings.from_keywords(start=str(first), **QUICK | {"width": 8}))
