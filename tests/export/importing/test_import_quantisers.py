"""The quantisers of QONNX, one by one, against the functions of the package qonnx (tox environment ``qonnx``)."""

import warnings
from pathlib import Path

import numpy as np
import pytest

from latentbit.export.importing.conversion import convert
from latentbit.runtime.errors import ModelError

from ...support.import_graphs import Source, run

QONNX = "qonnx.custom_op.general"
RNG = np.random.default_rng(31)
X = np.concatenate([RNG.normal(0, 3, 400), np.arange(-40, 40) / 8, [0.0, -0.0, 1e30, -1e30]]).astype(np.float32)[None]


def quantiser(scale: float, zero: float, bits: float, *, signed: int, narrow: int, mode: str) -> tuple[Source, str]:
    g = Source(["N", X.shape[1]])
    parameters = [g.constant(v) for v in (scale, zero, bits)]
    return g, g("Quant", "x", *parameters, domain=QONNX, signed=signed, narrow=narrow, rounding_mode=mode)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("mode", ["ROUND", "CEIL", "FLOOR"])
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
    g, y = quantiser(1.0, 0.0, 4.0, signed=1, narrow=0, mode="HALF_UP")
    with pytest.raises(ModelError, match="quant0: rounding mode HALF_UP of Quant is not supported; known are CEIL"):
        convert(g.save(tmp_path / "s.onnx", y, 2, **{QONNX: 2}), tmp_path / "t.onnx")
    g = Source(["N", 4])
    bits = g("ReduceMax", "x", keepdims=0)
    y = g("Quant", "x", g.constant(1.0), g.constant(0.0), bits, domain=QONNX, signed=1, narrow=0, rounding_mode="ROUND")
    with pytest.raises(ModelError, match="whose bit width is no constant number"):
        convert(g.save(tmp_path / "s.onnx", y, 2, **{QONNX: 2}), tmp_path / "t.onnx")
