"""Estimators against their formulas, and the forward law of the sign."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from latentbit.runtime.bits import sign as bit_sign
from latentbit.runtime.errors import ConfigError
from latentbit.training.layers.estimators import ESTIMATORS, find_estimator
from latentbit.training.layers.signs import sign

POINTS = st.floats(-3, 3, width=32)


def derivative(name: str, x: float, progress: float = 0.0) -> float:
    tensor = torch.tensor([x], dtype=torch.float64, requires_grad=True)
    sign(tensor, find_estimator(name), progress).backward()
    assert tensor.grad is not None
    return tensor.grad.item()


@given(st.lists(st.floats(width=32, allow_nan=True), min_size=1, max_size=20))
def test_sign_follows_the_bit_law(values: list[float]) -> None:
    x = torch.tensor(values, dtype=torch.float32)
    assert (sign(x).numpy() == bit_sign(x.numpy())).all()


def test_sign_of_both_zeros_is_plus_one() -> None:
    assert sign(torch.tensor([0.0, -0.0])).tolist() == [1.0, 1.0]


@given(POINTS)
def test_approx_sign_is_the_derivative_of_the_piecewise_quadratic(x: float) -> None:
    # F(x) = 2x + x² for x < 0, 2x − x² for x >= 0 inside [−1, 1] (Bi-Real Net, eq. 7).
    expected = (2 + 2 * x if x < 0 else 2 - 2 * x) if abs(x) < 1 else 0.0
    assert derivative("approx_sign", x) == pytest.approx(expected)


@given(POINTS)
def test_identity_clip_passes_inside_one(x: float) -> None:
    assert derivative("identity_clip", x) == (1.0 if abs(x) <= 1 else 0.0)
    assert derivative("identity", x) == 1.0


@given(POINTS, st.floats(0, 1))
def test_ede_is_the_derivative_of_k_tanh(x: float, progress: float) -> None:
    t = 10 ** (-1 + 2 * progress)
    expected = max(1 / t, 1) * t / math.cosh(t * x) ** 2
    assert derivative("ede", x, progress) == pytest.approx(expected, rel=1e-6, abs=1e-9)


@given(POINTS, st.floats(0, 1))
def test_reste_is_the_derivative_of_the_root_and_bounded(x: float, progress: float) -> None:
    root = 1 / (1 + 2 * progress)
    found = derivative("reste", x, progress)
    if abs(x) > 1.5:
        assert found == 0
    elif abs(x) < 0.1:
        # The secant of |x|^(1/o) over [0, 0.1].
        assert found == pytest.approx(0.1**root / 0.1)
    else:
        assert found == pytest.approx(root * abs(x) ** (root - 1))


@pytest.mark.parametrize("name", sorted(ESTIMATORS))
def test_estimators_keep_shape_and_dtype_and_do_not_write_into_x(name: str) -> None:
    x = torch.linspace(-2, 2, 12, dtype=torch.float32).view(3, 4)
    before = x.clone()
    found = ESTIMATORS[name](x, 0.5)
    assert (found.shape, found.dtype) == (x.shape, x.dtype)
    assert torch.equal(x, before)
    assert (found >= 0).all()


def test_unknown_estimator_is_named() -> None:
    with pytest.raises(ConfigError, match=r"unknown estimator 'aprox'.*approx_sign"):
        find_estimator("aprox")
