"""Learning-rate schedules at their named points."""

import pytest
import torch

from latentbit.training.loop.schedules import SCHEDULES, factor


def test_onecycle_is_torchs() -> None:
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 1.0, total_steps=2001, pct_start=0.1, final_div_factor=1e4 / 25
    )
    for step in range(2000):
        assert factor("onecycle", step / 2000) == pytest.approx(optimizer.param_groups[0]["lr"], abs=0.005)
        optimizer.step()
        theirs.step()


@pytest.mark.parametrize(
    ("name", "start", "middle", "end"),
    [
        ("constant", 1.0, 1.0, 1.0),
        ("cosine", 1.0, 0.5, 0.0),
        ("linear", 1.0, 0.5, 0.0),
        ("step", 1.0, 0.1, 0.01),
        ("onecycle", 1 / 25, 0.586865, 1e-4),
    ],
)
def test_named_points(name: str, start: float, middle: float, end: float) -> None:
    assert [factor(name, p) for p in (0.0, 0.5, 1.0)] == pytest.approx([start, middle, end], abs=1e-6)


@pytest.mark.parametrize("name", sorted(SCHEDULES))
def test_factors_stay_between_zero_and_one(name: str) -> None:
    assert all(0 <= factor(name, p / 1000) <= 1 for p in range(1000))
