"""``convert --compare``: random inputs through both files, and the steps of quantisers that rounding has moved."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from latentbit.export.importing.conversion import convert
from latentbit.pipeline.cli import main
from latentbit.pipeline.comparing import compare
from latentbit.runtime.errors import ConfigError
from latentbit.runtime.proof.engines import Candidate

from ..support.import_graphs import Source, sign_form

RNG = np.random.default_rng(29)


def on_the_border(path: Path, high: float, batch: int | str = 2, size: int | str = 8) -> Path:
    """Sums of ±0.3 divided by 1.2: half of the results lie between two steps, where rounding decides."""
    g = Source([batch, 8, size, size])
    weight = np.where(RNG.random((8, 8, 3, 3)) < 0.5, 0.3, -0.3).astype(np.float32)
    value = g("Conv", sign_form(g, "where >=", "x"), g.constant(weight))
    step = g("Clip", g("Div", value, g.constant(1.2)), g.constant(0.0), g.constant(high))
    value = g("Round", step, name="quantiser")
    y = g("Conv", value, g.constant(np.where(RNG.random((4, 8, 1, 1)) < 0.5, 1.0, -1.0)))
    return g.save(path, y, 4)


@pytest.mark.parametrize(("high", "form"), [(15.0, "weight-only"), (3.0, "binary")], ids=["many steps", "two bits"])
def test_steps_that_rounding_has_moved_are_counted(high: float, form: str, tmp_path: Path) -> None:
    source, target = on_the_border(tmp_path / "s.onnx", high), tmp_path / "t.onnx"
    first, second = convert(source, target).layers
    assert (first.form, second.form) == ("binary", form)
    found = compare(source, target, 3)
    expected = 0
    for sample in range(3):
        x = np.random.default_rng(sample).standard_normal((2, 8, 8, 8)).astype(np.float32)
        expected += int(np.abs(steps_of(source, x) - exact_steps(source, x, high)).sum())
    assert expected > 0, "float32 rounds some of these sums to the other side"
    assert sum(found.moved.values()) == expected
    signs = 2 * 8 * 8 * 8 + 2 * 8 * 6 * 6 * (1 if form == "weight-only" else 3)
    assert found.counted == 3 * signs
    assert found.difference > 1e-3, "one step is no rounding difference"


def steps_of(source: Path, x: np.ndarray) -> np.ndarray:
    """Return what the source's quantiser gives in stock onnxruntime."""
    rounded = next(node for node in onnx.load(source).graph.node if node.name == "quantiser").output[0]
    return Candidate(source.read_bytes()).values({"x": x})[rounded]


def exact_steps(source: Path, x: np.ndarray, high: float) -> np.ndarray:
    """Return what the same network gives whose sums are exact: one multiply behind the integer."""
    model = onnx.load(source)
    weight = max((onnx.numpy_helper.to_array(t) for t in model.graph.initializer), key=lambda array: array.size)
    windows = np.lib.stride_tricks.sliding_window_view(np.where(x >= 0, 1, -1), (3, 3), axis=(2, 3))
    sums = np.einsum("nchwij,ocij->nohw", windows, np.sign(weight).astype(int))
    factor = np.float32(np.float64(np.float32(0.3)) / np.float64(np.float32(1.2)))
    return np.rint(np.clip(sums.astype(np.float32) * factor, 0, high))


def test_it_is_asked_for_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, target = on_the_border(tmp_path / "s.onnx", 15.0), tmp_path / "t.onnx"
    for options in ((), ("--json",)):
        with pytest.raises(SystemExit) as ended:
            main(["convert", str(source), str(target), "--compare", "2", *options])
        assert ended.value.code == 0
        out = capsys.readouterr().out
        if options:
            assert json.loads(out)["comparison"]["samples"] == 2
        else:
            assert "quantiser: " in out
            assert out.splitlines()[-1].startswith("2 random inputs: ")


def test_a_size_that_nobody_knows_is_named(tmp_path: Path) -> None:
    source, target = on_the_border(tmp_path / "s.onnx", 15.0, "N", "S"), tmp_path / "t.onnx"
    convert(source, target)
    with pytest.raises(ConfigError, match="the size of input x is not known"):
        compare(source, target, 1)
