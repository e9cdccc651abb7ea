"""Several outputs, outputs that are no class scores, references of arrays, and bundles of them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from latentbit.runtime import Reference, Tolerances, check, make_bundle
from latentbit.runtime.errors import ConfigError, DataError, ModelError, StorageError
from latentbit.runtime.metrics import figures
from latentbit.runtime.proof.bundle import open_bundle
from latentbit.runtime.proof.device import check_bundle
from latentbit.runtime.proof.outputs import compare_outputs, output_failures
from latentbit.runtime.proof.reference import load_reference, save_reference
from latentbit.runtime.proof.report import CheckReport

from ...support.graphs import GraphMaker, chain

QUICK: dict[str, Any] = {"latency_runs": 2, "oracle_samples": 4}
SAMPLES = 20


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A chain with two outputs more: ten times its logits, and the number of the largest."""
    proto = chain()
    name = proto.graph.output[0].name
    proto.graph.initializer.append(helper.make_tensor("ten", TensorProto.FLOAT, [], [10.0]))
    proto.graph.node.append(helper.make_node("Mul", [name, "ten"], ["large"], name="large"))
    proto.graph.node.append(helper.make_node("ArgMax", [name], ["best"], name="best", axis=1, keepdims=0))
    proto.graph.output.append(helper.make_tensor_value_info("large", TensorProto.FLOAT, ["N", None]))
    proto.graph.output.append(helper.make_tensor_value_info("best", TensorProto.INT64, ["N"]))
    onnx.save(proto, tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


@pytest.fixture
def inputs() -> NDArray[np.float32]:
    found: NDArray[np.float32] = GraphMaker().floats(SAMPLES, 12, 8, 8)
    return found


def answers(model: Path, inputs: NDArray[Any]) -> dict[str, NDArray[Any]]:
    session = ort.InferenceSession(model.read_bytes())
    names = [info.name for info in session.get_outputs()]
    return dict(zip(names, session.run(names, {"input": inputs}), strict=True))


def test_arrays_are_a_reference_of_the_first_output(model: Path, inputs: NDArray[Any]) -> None:
    logits = next(iter(answers(model, inputs).values()))
    report = check(model, Reference.of(inputs, logits), Tolerances(**QUICK))
    assert (report.failures, report.agreement.top1_agreement, report.accuracy.deployed) == ((), None, None)
    assert list(report.agreement.outputs) == ["logits"]
    labels = logits.argmax(axis=1)
    report = check(model, Reference.of(inputs, logits, labels=labels), Tolerances(**QUICK))
    assert (report.agreement.top1_agreement, report.accuracy.deployed) == (1.0, 1.0)
    assert CheckReport.from_json(json.loads(json.dumps(report.to_json()))) == report


def test_each_output_is_compared_by_name(model: Path, inputs: NDArray[Any]) -> None:
    outputs = answers(model, inputs)
    wanted = {"best": outputs["best"], "large": outputs["large"]}
    report = check(model, Reference.of(inputs, wanted), Tolerances(**QUICK))
    assert report.passed
    assert list(report.agreement.outputs) == ["best", "large"]
    largest = float(np.abs(outputs["large"]).max())
    assert report.agreement.outputs["large"].largest_value == pytest.approx(largest)
    for name, change in (("large", 2e-3 * largest), ("best", 1)):
        wrong = {key: value.copy() for key, value in wanted.items()}
        wrong[name][3] += np.array(change).astype(wrong[name].dtype)
        failed = check(model, Reference.of(inputs, wrong), Tolerances(**QUICK))
        assert [sentence.split(" is ")[0] for sentence in failed.failures] == [
            f"the largest difference of output {name}"
        ]
        wider = Tolerances(**QUICK, max_output_difference=1e-2)
        assert check(model, Reference.of(inputs, wrong), wider).passed is (name == "large")
    wrong = wanted | {"large": np.full_like(wanted["large"], np.nan)}
    (failure,) = check(model, Reference.of(inputs, wrong), Tolerances(**QUICK)).failures
    assert failure == "a value of large is no finite number, here or in the reference"


def test_a_metric_is_measured_on_both_and_never_judged(model: Path, inputs: NDArray[Any]) -> None:
    outputs = answers(model, inputs)
    reference = Reference.of(inputs, {"large": outputs["large"]}, targets=np.zeros_like(outputs["large"]))

    def distance(found: NDArray[Any], targets: NDArray[Any]) -> float:
        return float(np.abs(found - targets).mean())

    report = check(model, reference, Tolerances(**QUICK), metric=distance)
    assert report.passed
    assert report.metric == "distance"
    assert report.metrics["deployed"]["distance"] == pytest.approx(float(np.abs(outputs["large"]).mean()), rel=1e-5)
    assert set(report.metrics) == {"folded_on_samples", "deployed"}


def test_figures_of_a_metric() -> None:
    assert figures("a.b:mean", lambda x, y: x.mean(), {"logits": np.ones(3)}, None) == {"mean": 1.0}
    assert figures("m", lambda x, y: {"a": x["p"][0], "b": 2}, {"p": [3], "q": [4]}, None) == {"a": 3.0, "b": 2.0}
    with pytest.raises(ConfigError, match="the metric m gave a NoneType"):
        figures("m", lambda x, y: None, {"p": np.ones(3)}, None)
    with pytest.raises(ConfigError, match="the metric m failed: KeyError: 'none'"):
        figures("m", lambda x, y: {}["none"], {"p": np.ones(3)}, None)


@pytest.mark.parametrize(
    "targets", [None, np.arange(40.0).reshape(20, 2), {"a": np.arange(20.0), "b": np.zeros((20, 3))}]
)
def test_a_reference_is_written_and_read(targets: Any, inputs: NDArray[Any], tmp_path: Path) -> None:
    reference = Reference.of(inputs, {"x": inputs[:, 0], "y": inputs[:, 1, 0]}, targets=targets)
    save_reference(reference, tmp_path / "r.npz")
    found = load_reference(tmp_path / "r.npz")
    assert len(found.sha256) == 64
    for name in ("x", "y"):
        np.testing.assert_array_equal(found.outputs[name], reference.outputs[name])
    np.testing.assert_equal(found.targets, reference.targets)
    part = found.take(np.array([3, 5]))
    np.testing.assert_array_equal(part.outputs["x"], inputs[[3, 5], 0])
    assert len(part.inputs) == 2


def test_signs_of_frames_in_the_batch_follow_their_samples() -> None:
    signs = np.where(np.arange(24).reshape(6, 4) % 3 == 0, 1, -1).astype(np.int8)
    reference = Reference(np.zeros((3, 2)), {"logits": np.zeros((3, 2))}, signs={"conv": signs})
    np.testing.assert_array_equal(reference.signs_of("conv", slice(1, 2)), signs[2:4])
    np.testing.assert_array_equal(reference.take(np.array([0, 2])).signs["conv"], signs[[0, 1, 4, 5]])


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"outputs": np.zeros((3, 2))}, r"inputs and logits differ in length: 4 samples, \[3, 2\]"),
        ({"outputs": {}}, "needs at least one output"),
        ({"inputs": np.zeros((0, 2))}, "needs at least one sample"),
        ({"labels": np.zeros((4, 2), np.int64)}, "labels are class numbers, one integer a sample"),
        ({"labels": np.zeros(4)}, "labels are class numbers"),
        ({"targets": np.array(["a"] * 4)}, "targets holds <U1, not numbers"),
        ({"targets": {"a": np.zeros(3)}}, "inputs and targets/a differ in length"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(arrays: dict[str, Any], words: str) -> None:
    given: dict[str, Any] = {"inputs": np.zeros((4, 2)), "outputs": np.zeros((4, 2))} | arrays
    with pytest.raises(DataError, match=words):
        Reference.of(given.pop("inputs"), given.pop("outputs"), **given)


def test_an_output_that_the_model_has_not(model: Path, inputs: NDArray[Any]) -> None:
    with pytest.raises(DataError, match="the reference has an output other, the model has"):
        check(model, Reference.of(inputs, {"other": inputs}), Tolerances(**QUICK))
    with pytest.raises(DataError, match=r"the model gives large \[20, \d+\], the reference has \[20, 3\]"):
        check(model, Reference.of(inputs, {"large": np.zeros((20, 3))}), Tolerances(**QUICK))


def test_a_bundle_of_arrays_is_checked_by_a_device(model: Path, inputs: NDArray[Any], tmp_path: Path) -> None:
    outputs = answers(model, inputs)
    reference = Reference.of(inputs, {name: outputs[name] for name in ("large", "best")})
    for output in ("bundle.zip", "bundle"):
        made = make_bundle(
            model, reference, tmp_path / output, tolerances=Tolerances(**QUICK, max_output_difference=0.01)
        )
        with open_bundle(made) as bundle:
            assert bundle.tolerances.max_output_difference == 0.01
            assert bundle.manifest["run"] == "model"
        report = check_bundle(made)
        assert (report.check.passed, report.check.samples) == (True, SAMPLES)
        assert set(report.check.agreement.outputs) == {"large", "best"}
    with pytest.raises(StorageError, match="exists: name another place"):
        make_bundle(model, reference, tmp_path / "bundle")
    with pytest.raises(ModelError, match="there is no model"):
        make_bundle(tmp_path / "none.onnx", reference, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_figures_in_a_file_that_are_none_are_refused(model: Path, inputs: NDArray[Any]) -> None:
    for text in ("[]", "{", '{"trained": {"a": "b"}}', '{"folded": 3}'):
        proto = onnx.load(model)
        helper.set_model_props(proto, {"latentbit.task": text})
        onnx.save(proto, model)
        with pytest.raises(ModelError, match=r"the metadata latentbit\.task of the model are no figures"):
            check(model, Reference.of(inputs, {"large": answers(model, inputs)["large"]}), Tolerances(**QUICK))


def test_images_are_judged_by_psnr_where_every_one_has_a_flipped_sign() -> None:
    expected = np.linspace(0, 1, 2 * 64).reshape(2, 1, 8, 8).astype(np.float32)
    actual = expected.copy()
    actual[1, 0, :4] += 0.1
    recorded = Reference.of(np.zeros((2, 1, 4, 4), np.float32), expected)
    found = compare_outputs({"logits": actual}, recorded, np.array([True, True]))
    wanted = 10 * np.log10(1 / (0.1**2 / 2))
    assert found["logits"].psnr == pytest.approx(wanted, abs=1e-4), "of the worse of the two"
    assert found["logits"].max_abs_difference_unflipped == 0.0
    assert not list(output_failures(found, Tolerances()))
    (failure,) = output_failures(found, Tolerances(min_output_psnr=wanted + 1))
    assert failure == f"the PSNR of output logits is {wanted:.1f} dB, needed is {wanted + 1:g}"
    assert not list(output_failures(found, Tolerances(min_output_psnr=wanted - 1)))
    same = compare_outputs({"logits": expected}, recorded, np.array([True, True]))
    assert same["logits"].psnr is None, "nothing differs"
    assert not list(output_failures(same, Tolerances(min_output_psnr=200.0)))
    labelled = Reference.of(np.zeros((2, 1, 4, 4), np.float32), np.eye(2, dtype=np.float32), labels=np.arange(2))
    assert compare_outputs({"logits": np.eye(2)}, labelled, np.array([True, True]))["logits"].psnr is None
