"""The quantisers of QONNX, one by one, against the formulas of the package qonnx, and against its own functions."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from latentbit.export.importing.conversion import convert
from latentbit.runtime.errors import ModelError

from ...support.import_graphs import Source, run

QONNX = "qonnx.custom_op.general"
RNG = np.random.default_rng(31)
X = np.concatenate([RNG.normal(0, 3, 400), np.arange(-40, 40) / 8, [0.0, -0.0, 1e30, -1e30]]).astype(np.float32)[None]
MODES = ["ROUND", "HALF_EVEN", "CEIL", "FLOOR", "UP", "DOWN", "HALF_UP", "HALF_DOWN"]


def constant(g: Source, number: float, dtype: str) -> str:
    """Add a scalar in a type of its own; the builder of graphs writes float32."""
    name = f"{dtype}{len(g.constants)}"
    g.constants.append(onnx.numpy_helper.from_array(np.array(number, dtype), name))
    return name


def rounded(x: NDArray[Any], mode: str) -> NDArray[Any]:
    """Round as QONNX names it."""
    whole = {"ROUND": np.rint, "HALF_EVEN": np.rint, "CEIL": np.ceil, "FLOOR": np.floor}
    if mode in whole:
        return np.asarray(whole[mode](x))
    size = {
        "UP": lambda a: np.ceil(a),
        "DOWN": lambda a: np.floor(a),
        "HALF_UP": lambda a: np.floor(a + 0.5),
        "HALF_DOWN": lambda a: np.ceil(a - 0.5),
    }[mode](np.abs(x))
    return np.asarray(np.sign(x) * size)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
@pytest.mark.parametrize("mode", MODES)
def test_every_rounding_mode_and_type_of_parameters(mode: str, dtype: str, tmp_path: Path) -> None:
    """QKeras writes float64 and int64. numpy then computes in float64, and the result becomes float32."""
    scale, zero, bits = {"float32": (0.37, 1, 4), "float64": (0.37, 0, 4), "int64": (3, 1, 3)}[dtype]
    g = Source(["N", X.shape[1]])
    parameters = [constant(g, value, dtype) for value in (scale, zero, bits)]
    y = g("Quant", "x", *parameters, domain=QONNX, signed=1, narrow=0, rounding_mode=mode)
    convert(g.save(tmp_path / "s.onnx", y, 2), tmp_path / "t.onnx")
    s, z = np.array(scale, dtype), np.array(zero, dtype)
    clipped = np.clip(X / s + z, -(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    expected = (rounded(clipped, mode) - z) * s
    assert expected.dtype == ("float32" if dtype == "float32" else "float64")
    np.testing.assert_array_equal(run(tmp_path / "t.onnx", X, optimise=False), expected.astype(np.float32))


@pytest.mark.parametrize("dtype", ["float64", "int64"])
def test_a_power_of_two_needs_no_float64(dtype: str, tmp_path: Path) -> None:
    """Then nothing is rounded on the way: no Cast is left in the file."""
    g = Source(["N", X.shape[1]])
    parameters = [constant(g, value, dtype) for value in (2, 0, 4)]
    y = g("Quant", "x", *parameters, domain=QONNX, signed=1, narrow=0, rounding_mode="ROUND")
    convert(g.save(tmp_path / "s.onnx", y, 2), tmp_path / "t.onnx")
    assert "Cast" not in {node.op_type for node in onnx.load(tmp_path / "t.onnx").graph.node}
    expected = np.round(np.clip(X / 2, -8, 7)) * 2
    np.testing.assert_array_equal(run(tmp_path / "t.onnx", X, optimise=False), expected)


@pytest.mark.parametrize("mode", ["FLOOR", "ROUND", "CEIL"])
def test_truncation_of_bits(mode: str, tmp_path: Path) -> None:
    """Version 1 of ``Trunc`` names bits before and after; version 2 the scale after as well, and clips."""
    s, z = np.float32(0.25), np.float32(0)
    integers = np.round(X / s + z)
    for parameters, cut, after, bits in (((8, 4), 16, s, None), ((8, 1.0, 4), 4, np.float32(1), 4)):
        g = Source(["N", X.shape[1]])
        inputs = [g.constant(value) for value in (s, z, *parameters)]
        y = g("Trunc", "x", *inputs, domain=QONNX, rounding_mode=mode)
        convert(g.save(tmp_path / "s.onnx", y, 2), tmp_path / "t.onnx")
        expected: NDArray[Any] = integers / np.float32(cut)
        expected = expected if bits is None else np.clip(expected, -(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
        expected = (rounded(expected, mode) - z) * after
        np.testing.assert_array_equal(run(tmp_path / "t.onnx", X, optimise=False), expected)


def quantiser(scale: float, zero: float, bits: float, *, signed: int, narrow: int, mode: str) -> tuple[Source, str]:
    g = Source(["N", X.shape[1]])
    parameters = [g.constant(v) for v in (scale, zero, bits)]
    return g, g("Quant", "x", *parameters, domain=QONNX, signed=signed, narrow=narrow, rounding_mode=mode)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("narrow", [0, 1])
@pytest.mark.parametrize(("signed", "bits"), [(1, 8), (1, 4), (1, 2), (1, 1), (0, 8), (0, 2)])
def test_integer_quantisers(signed: int, bits: int, narrow: int, mode: str, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = pytest.importorskip("qonnx.custom_op.general.intquant", reason="qonnx is not installed: tox -e qonnx")
    scale, zero = np.float32(0.37), np.float32(0 if signed else 1)
    g, y = quantiser(float(scale), float(zero), bits, signed=signed, narrow=narrow, mode=mode)
    convert(g.save(tmp_path / "s.onnx", y, 2, **{QONNX: 2}), tmp_path / "t.onnx")
    expected = theirs.int_quant(X, scale, zero, np.float32(bits), bool(signed), bool(narrow), mode)
    np.testing.assert_array_equal(run(tmp_path / "t.onnx", X, optimise=False), expected.astype(np.float32))


def test_what_cannot_be_carried_is_named(tmp_path: Path) -> None:
    g, y = quantiser(1.0, 0.0, 4.0, signed=1, narrow=0, mode="STOCHASTIC")
    with pytest.raises(ModelError, match="quant0: rounding mode STOCHASTIC of Quant is not supported; known are CEIL"):
        convert(g.save(tmp_path / "s.onnx", y, 2, **{QONNX: 2}), tmp_path / "t.onnx")
    g = Source(["N", 4])
    bits = g("ReduceMax", "x", keepdims=0)
    y = g("Quant", "x", g.constant(1.0), g.constant(0.0), bits, domain=QONNX, signed=1, narrow=0, rounding_mode="ROUND")
    with pytest.raises(ModelError, match="whose bit width is no constant number"):
        convert(g.save(tmp_path / "s.onnx", y, 2, **{QONNX: 2}), tmp_path / "t.onnx")
