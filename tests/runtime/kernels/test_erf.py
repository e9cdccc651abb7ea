"""The coefficients of the error function are those that a fit gives, and the function of them is as near as is said."""

import math
from collections.abc import Callable

import numpy as np
from numpy.polynomial import Chebyshev, Polynomial
from numpy.typing import NDArray

from latentbit.runtime.kernels import chain
from latentbit.runtime.session import InferenceSession

from ...support.graphs import GraphMaker
from ...support.natives import unit

Function = Callable[[float], float]


def fitted(function: Function, weight: Function, low: float, high: float, degree: int) -> NDArray[np.float64]:
    """Return the polynomial, highest power first, whose largest error times the weight is about least (Lawson)."""
    places = (low + high) / 2 - (high - low) / 2 * np.cos(np.pi * (np.arange(2000) + 0.5) / 2000)
    wanted = np.array([function(place) for place in places])
    scale, importance = np.array([weight(place) for place in places]), np.ones(len(places))
    for _ in range(60):
        found = Chebyshev.fit(places, wanted, degree, domain=[low, high], w=scale * np.sqrt(importance))
        error = np.abs(found(places) - wanted) * scale
        importance *= error + 1e-3 * error.max()
        importance /= importance.mean()
    return np.asarray(found.convert(kind=Polynomial).coef[::-1])


def test_the_coefficients_are_those_of_the_fit() -> None:
    near = fitted(lambda s: math.erf(math.sqrt(s)) / math.sqrt(s) - 1, lambda s: 1, 1e-6, 0.85, 5)
    far = fitted(lambda x: math.log(math.erfc(x)) / x, lambda x: x * math.erfc(x), 0.92, 4, 6)
    for mine, wanted, x in (
        (chain._ERF_NEAR, near, np.linspace(0, 0.85, 999)),
        (chain._ERF_FAR, far, np.linspace(0.92, 4, 999)),
    ):
        np.testing.assert_allclose(np.polyval(mine, x), np.polyval(wanted, x), rtol=0, atol=2e-7)


def test_it_is_within_four_units_of_the_last_place() -> None:
    """Over a million numbers, evenly in value and in exponent, and all of them around where the two forms meet."""
    meet = np.float32(chain._ERF_NEAR_END)
    around = meet + np.arange(-4096, 4096, dtype=np.float32) * np.spacing(meet)
    even, powers = np.linspace(-4.5, 4.5, 500_000), np.exp2(np.linspace(-120, 3, 491_808))
    x = np.concatenate([even, powers, around]).astype(np.float32)
    maker, shape = GraphMaker(), [1, 1, 1, len(x)]
    summed = maker.node(
        "Add", [maker.node("Mul", [unit(maker, "input", 1, 1), maker.constant(np.float32(0))]), "shift"]
    )
    value = maker.node("Erf", [summed])
    model = maker.model(dict.fromkeys(("input", "shift"), shape), [value, unit(maker, value, 1, 1)])
    session = InferenceSession(model.SerializeToString())
    assert "Erf" not in [op for step in session.get_steps() if step.kernel == "onnxruntime" for op in step.ops]
    found = session.run(None, {"input": np.ones(shape, np.float32), "shift": x.reshape(shape)})[0].reshape(-1)
    true = np.array([math.erf(float(one)) for one in x])
    assert np.all(np.abs(found - true) <= 4 * np.spacing(np.abs(true).astype(np.float32)))
