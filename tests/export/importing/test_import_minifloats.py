"""``FloatQuant`` of QONNX, floats of few bits, against their definition and against qonnx's own function."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from latentbit.export.importing.conversion import convert
from latentbit.runtime.errors import ModelError

from ...support.import_graphs import Source, run

DOMAIN = "onnx.brevitas"
RNG = np.random.default_rng(37)
POWERS = 2.0 ** np.arange(-12, 12)
X = np.concatenate([RNG.normal(0, 3, 500), RNG.normal(0, 0.01, 200), POWERS, -POWERS * 1.0625, [0.0, 1e30, -1e30]])
X = X.astype(np.float32)[None]
FORMATS = [(4, 3, 7), (5, 2, 15), (2, 1, 1), (3, 0, 3), (4, 3, 8)]
"""Exponent bits, mantissa bits, bias: E4M3, E5M2, E2M1, powers of two, E4M3 with another bias."""


def save(
    path: Path, numbers: tuple[float, ...], *, scale: float = 0.37, most: float | None = None, **attributes: Any
) -> Path:
    g = Source(["N", X.shape[1]])
    inputs = [g.constant(value) for value in (scale, *numbers, *(() if most is None else (most,)))]
    given = {"saturation": 1, "has_inf": 0, "has_nan": 0, "has_subnormal": 0, "rounding_mode": "ROUND"} | attributes
    return g.save(path, g("FloatQuant", "x", *inputs, domain=DOMAIN, **given), 2, **{DOMAIN: 1})


def nearest(x: NDArray[np.float32], exponent: int, mantissa: int, bias: int) -> tuple[NDArray[np.float64], float]:
    """Return the nearest number of a format, of two equally near ones the even one, and the largest of the format."""
    binades = [2.0 ** (e - bias) * (1 + np.arange(2**mantissa) / 2**mantissa) for e in range(1, 2**exponent)]
    small = 2.0 ** (1 - bias) * np.arange(2**mantissa) / 2**mantissa
    numbers = np.concatenate([small, *binades])
    below = np.clip(np.searchsorted(numbers, np.abs(x).astype(np.float64), side="right") - 1, 0, len(numbers) - 2)
    low, high = numbers[below], numbers[below + 1]
    size = np.abs(x).astype(np.float64)
    up = (size - low > high - size) | ((size - low == high - size) & (below % 2 == 1))
    return np.sign(x) * np.where(up, high, low), float(numbers[-1])


@pytest.mark.parametrize("numbers", FORMATS)
def test_the_nearest_number_of_the_format(numbers: tuple[int, int, int], tmp_path: Path) -> None:
    convert(save(tmp_path / "s.onnx", numbers), tmp_path / "t.onnx")
    scaled = X / np.float32(0.37)
    expected = nearest(scaled, *numbers)[0].astype(np.float32) * np.float32(0.37)
    np.testing.assert_array_equal(run(tmp_path / "t.onnx", X, optimise=False), expected)


def test_what_is_too_large(tmp_path: Path) -> None:
    """It becomes the largest number, or infinity, or NaN, as the attributes say."""
    for attributes, beyond in (({}, 448.0), ({"has_inf": 1}, np.inf), ({"has_nan": 1}, np.nan)):
        source = save(
            tmp_path / "s.onnx", (4, 3, 7), scale=1.0, most=448.0, saturation=int(not attributes), **attributes
        )
        convert(source, tmp_path / "t.onnx")
        found = run(tmp_path / "t.onnx", X, optimise=False)
        expected = nearest(X, 4, 3, 7)[0].astype(np.float32)
        expected = np.where(X > 464, beyond, np.where(X < -464, -beyond, np.clip(expected, -448, 448)))
        np.testing.assert_array_equal(found, expected)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("mode", ["ROUND", "CEIL", "FLOOR"])
@pytest.mark.parametrize("numbers", FORMATS)
def test_equal_to_qonnx(numbers: tuple[int, int, int], mode: str, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = pytest.importorskip(
            "qonnx.custom_op.general.floatquant", reason="qonnx is not installed: tox -e qonnx"
        )
    most = theirs.compute_max_val(*(np.float32(number) for number in numbers))
    convert(save(tmp_path / "s.onnx", numbers, most=float(most), rounding_mode=mode), tmp_path / "t.onnx")
    parameters = [np.float32(number) for number in (0.37, *numbers)]
    expected = theirs.float_quant(X, *parameters, max_val=np.float32(most), rounding_mode=mode)
    np.testing.assert_array_equal(run(tmp_path / "t.onnx", X, optimise=False), expected.astype(np.float32))


def test_what_cannot_be_carried_is_named(tmp_path: Path) -> None:
    for numbers, attributes, words in (
        ((8, 7, 127), {}, "8 exponent bits and bias 127 is not supported"),
        ((4, 3, 7), {"saturation": 0}, "neither infinity nor NaN"),
    ):
        with pytest.raises(ModelError, match=words):
            convert(save(tmp_path / "s.onnx", numbers, **attributes), tmp_path / "t.onnx")
