"""Profile and benchmark: figures for every step and engine, and none for a model whose integers are wrong."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from latentbit.runtime.__main__ import main
from latentbit.runtime.errors import CheckFailed, ConfigError, DataError, ModelError
from latentbit.runtime.proof import timing
from latentbit.runtime.proof.bench import bench, random_feeds
from latentbit.runtime.proof.quantizing import plain_form
from latentbit.runtime.proof.report import Times
from latentbit.runtime.proof.timing import interleaved, times
from latentbit.runtime.session.profile import chrome_trace, summed
from latentbit.runtime.session.session import InferenceSession

from ...support.graphs import GraphMaker, chain
from ...support.references import write_own_reference


def test_a_profile_has_every_step() -> None:
    session = InferenceSession(chain(channels=16).SerializeToString())
    feeds = random_feeds(session, batch=2)
    session.run(None, feeds)
    steps = session.profile(feeds)
    totals = summed(steps)
    named = {step.name for step in session.get_steps()}
    assert named <= set(totals)
    assert all(step.duration >= 0 for step in steps)
    assert [step.start for step in steps] == sorted(step.start for step in steps)
    assert sum(totals.values()) == pytest.approx(sum(step.duration for step in steps))
    events = json.loads(json.dumps(chrome_trace(steps)))["traceEvents"]
    assert len(events) == len(steps)
    assert {event["ph"] for event in events} == {"X"}


def test_a_profiled_run_gives_the_same_result() -> None:
    session = InferenceSession(chain(channels=16).SerializeToString())
    feeds = random_feeds(session)
    before = session.run(None, feeds)[0]
    session.profile(feeds)
    np.testing.assert_array_equal(session.run(None, feeds)[0], before)


def test_bench_times_every_engine() -> None:
    report = bench(chain().SerializeToString(), peers=["onnxruntime", "onnxruntime-int8"], threads=[1, 2], runs=3)
    assert [(row.engine, row.threads) for row in report.results] == [
        (engine, threads) for threads in (1, 2) for engine in ("latentbit", "onnxruntime", "onnxruntime-int8")
    ]
    for row in report.results:
        (ours,) = (each for each in report.results if (each.engine, each.threads) == ("latentbit", row.threads))
        assert row.ratio == row.times.median / ours.times.median
    rows = report.to_json()["results"]
    assert list(rows[0]) == ["engine", "threads", "median", "p95", "best", "p99", "ratio", "accuracy"]
    assert json.loads(json.dumps(report.to_json()))["runs"] == 3


def test_the_float_original_stands_beside_its_model(tmp_path: Path) -> None:
    data = chain().SerializeToString()
    inputs = GraphMaker().floats(130, 12, 8, 8)
    write_own_reference(data, inputs, tmp_path / "reference.npz")
    (tmp_path / "float.onnx").write_bytes(plain_form(data))  # the same network with float weights
    report = bench(
        data, peers=[], threads=[1, 2], runs=2, original=tmp_path / "float.onnx", reference=tmp_path / "reference.npz"
    )
    engines = ("latentbit", "original fp32", "original int8")
    assert [(row.engine, row.threads) for row in report.results] == [(name, n) for n in (1, 2) for name in engines]
    for row in report.results:
        assert row.accuracy is not None
        assert row.accuracy == 1 if row.engine != "original int8" else 0 <= row.accuracy <= 1
    without = bench(data, peers=[], runs=1, original=plain_form(data))
    assert [row.accuracy for row in without.results] == [None] * 3


def test_an_original_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    data = chain().SerializeToString()
    with pytest.raises(
        ConfigError, match=r"takes tensor\(float\) .* 16, .* and the model is fed float32 \[1, 12, 8, 8\]"
    ):
        bench(data, peers=[], runs=1, original=plain_form(chain(channels=16).SerializeToString()))
    with pytest.raises(
        ConfigError, match=r"answers \[1, 12, 8, 8\] and the model \[1, 10\]: the model was not made from"
    ):
        bench(data, peers=[], runs=1, original=_relu(12))
    (tmp_path / "text.onnx").write_text("no model")
    with pytest.raises(ModelError, match=r"text.onnx is not an ONNX model"):
        bench(data, peers=[], runs=1, original=tmp_path / "text.onnx")
    write_own_reference(data, GraphMaker().floats(4, 12, 8, 8), tmp_path / "reference.npz")
    with np.load(tmp_path / "reference.npz") as file:
        arrays = {name: value for name, value in file.items() if name != "labels"}
    np.savez(tmp_path / "reference.npz", **arrays)
    with pytest.raises(DataError, match="no class numbers"):
        bench(data, peers=[], runs=1, reference=tmp_path / "reference.npz")


def _relu(channels: int) -> bytes:
    maker = GraphMaker()
    maker.node("Relu", ["input"])
    maker.nodes[-1].output[0] = "y"
    return maker.model({"input": ["N", channels, "H", "W"]}, ["y"]).SerializeToString()


def _classes(pixels: bool, batch: int | str = "N") -> onnx.ModelProto:
    """Return a classifier of pixels uint8 ``[N, 8, 8, 3]``, or of the floats that they become in it."""
    maker, value = GraphMaker(), "input"
    if pixels:
        value = maker.node("Transpose", [maker.node("Cast", [value], to=onnx.TensorProto.FLOAT)], perm=[0, 3, 1, 2])
        for op, number in (("Div", 255), ("Sub", 0.5), ("Div", 0.25)):
            value = maker.node(op, [value, maker.constant(np.float32(number))])
    value = maker.conv(maker.binarize(value, 3), maker.signs(7, 3, 3, 3))
    maker.node("Flatten", [maker.node("GlobalAveragePool", [value])])
    maker.nodes[-1].output[0] = "y"
    if pixels:
        model = maker.model({"input": ["N", 8, 8, 3]}, ["y"])
        model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.UINT8
        return model
    return maker.model({"input": [batch, 3, 8, 8]}, ["y"])


@pytest.mark.parametrize("batch", ["N", 1])
def test_the_original_of_a_model_of_pixels_is_fed_what_they_mean(batch: int | str, tmp_path: Path) -> None:
    model = _classes(pixels=True)
    original = plain_form(_classes(pixels=False, batch=batch).SerializeToString())
    reference = tmp_path / "reference.npz"
    images = np.random.default_rng(0).integers(0, 256, (70, 8, 8, 3), np.uint8)
    write_own_reference(model.SerializeToString(), images, reference)
    timed = bench(model.SerializeToString(), peers=[], runs=1, original=original)
    assert [row.engine for row in timed.results] == ["latentbit", "original fp32", "original int8"]
    with pytest.raises(ModelError, match=r"does not say what its pixels mean .* leave the reference out"):
        bench(model.SerializeToString(), peers=[], runs=1, original=original, reference=reference)
    means = {"channels": 3, "height": 8, "width": 8, "mean": [0.5] * 3, "std": [0.25] * 3, "range": 255}
    model.metadata_props.add(key="latentbit.input", value=json.dumps(means))
    rows = bench(model.SerializeToString(), peers=[], runs=1, original=original, reference=reference).results
    assert [row.accuracy for row in rows[:2]] == [1, 1]
    assert rows[2].accuracy is not None


def test_engines_run_by_turns_and_the_warm_up_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    now, order = [0], []

    def engine(name: str, milliseconds: list[float]) -> Callable[[], None]:
        left = iter([900.0] * 3 + milliseconds)  # the first calls are slow, as those that compile are

        def call() -> None:
            order.append(name)
            now[0] += int(next(left) * 1e6)

        return call

    monkeypatch.setattr(timing, "perf_counter_ns", lambda: now[0])
    found = interleaved({"a": engine("a", [1.0, 9.0, 2.0]), "b": engine("b", [4.0, 4.0, 4.0])}, 3)
    assert order == ["a", "b"] * 6
    assert found == {"a": [1.0, 9.0, 2.0], "b": [4.0, 4.0, 4.0]}
    assert times([float(value) for value in range(101, 0, -1)]) == Times(median=51.0, p95=96.0, best=1.0, p99=100.0)


def test_bench_takes_no_time_of_a_wrong_model(monkeypatch: pytest.MonkeyPatch) -> None:
    trace = InferenceSession.trace

    def wrong(self: InferenceSession, feeds: Any) -> Any:
        layers = trace(self, feeds)
        layers[0].accumulators[0, 0, 0, 0] += 2
        return layers

    monkeypatch.setattr(InferenceSession, "trace", wrong)
    with pytest.raises(CheckFailed, match="integers differ"):
        bench(chain().SerializeToString(), runs=1)


def test_bench_refuses_what_it_does_not_know() -> None:
    with pytest.raises(ConfigError, match="there is no peer tvm; there are onnxruntime"):
        bench(chain().SerializeToString(), peers=["tvm"])
    with pytest.raises(ConfigError, match="must be 1 or more"):
        bench(chain().SerializeToString(), threads=[0])


def test_the_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, trace = tmp_path / "model.onnx", tmp_path / "trace.json"
    model.write_bytes(chain().SerializeToString())
    assert main(["profile", str(model), "--runs", "2", "--trace", str(trace), "--json"]) == 0
    assert "binarygemm17" in json.loads(capsys.readouterr().out)["steps"]
    assert json.loads(trace.read_text())["traceEvents"]
    assert main(["bench", str(model), "--runs", "2", "--threads", "1", "--peers", "onnxruntime"]) == 0
    assert re.findall(r"^onnxruntime\b", capsys.readouterr().out, re.M) == ["onnxruntime"]
