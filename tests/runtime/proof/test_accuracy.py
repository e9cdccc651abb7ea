"""The accuracy check passes what is right and names what is wrong."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from latentbit.runtime.__main__ import main
from latentbit.runtime.bits import pack_signs
from latentbit.runtime.errors import ConfigError, DataError
from latentbit.runtime.files import sha256_file
from latentbit.runtime.proof.accuracy import check
from latentbit.runtime.proof.answers import Answers, answer
from latentbit.runtime.proof.reference import load_reference
from latentbit.runtime.proof.report import Accuracy, CheckReport
from latentbit.runtime.proof.tolerances import Tolerances
from latentbit.runtime.session.session import InferenceSession

from ...support.graphs import GraphMaker, chain
from ...support.references import write_own_reference

SAMPLES = 70


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    model = chain()
    entry = model.metadata_props.add()
    entry.key = "latentbit.metrics"
    entry.value = json.dumps({"latent_test_accuracy": None, "test_accuracy": 1.0, "folded": 1.0})
    data = model.SerializeToString()
    (tmp_path / "model.onnx").write_bytes(data)
    inputs = GraphMaker().floats(SAMPLES, 12, 8, 8)
    write_own_reference(data, inputs, tmp_path / "reference.npz")
    return tmp_path


def alter(bundle: Path, **changes: Any) -> None:
    path = bundle / "reference.npz"
    with np.load(path) as file:
        arrays = dict(file)
    np.savez(path, **{**arrays, **changes})


def report_of(bundle: Path, *, answers: Answers | None = None, **tolerances: float) -> CheckReport:
    changed: dict[str, Any] = {"latency_runs": 3, "oracle_samples": 8, **tolerances}
    return check(bundle / "model.onnx", bundle / "reference.npz", Tolerances(**changed), answers=answers)


def test_a_right_model_passes(bundle: Path) -> None:
    report = report_of(bundle)
    assert (report.passed, report.failures, report.samples) == (True, (), SAMPLES)
    labels = load_reference(bundle / "reference.npz").labels
    assert labels is not None
    majority = max(np.mean(labels == label) for label in set(labels))
    assert report.accuracy == Accuracy(None, 1.0, 1.0, folded_on_samples=1.0, deployed=1.0, majority=majority)
    assert report.agreement.oracle_integer_mismatches == 0
    assert report.agreement.oracle_integers_compared == 8 * (12 * 64 + 24 * 16 + 10)
    assert set(report.agreement.flipped_signs.values()) == {0}
    assert report.size_bytes.float > report.size_bytes.packed == (bundle / "model.onnx").stat().st_size


def test_the_verdict_says_what_it_means(bundle: Path) -> None:
    report = report_of(bundle)
    assert "hardly better than guessing" in report.meaning  # random weights: one class for all inputs
    good = replace(report, accuracy=replace(report.accuracy, majority=0.5))
    assert good.meaning == "The file answers as the trained network did; always naming the commonest class gets 50.0%."
    for right, guesses in ((0.5, True), (0.6, True), (0.63, False)):  # of 70: the intervals begin at 0.39, 0.48, 0.51
        accuracy = replace(report.accuracy, deployed=right, majority=0.5)
        assert ("hardly better than guessing" in replace(report, accuracy=accuracy).meaning) is guesses, right
    unlabelled = replace(report.accuracy, deployed=None, majority=None)
    assert "does not say" in replace(report, accuracy=unlabelled).meaning
    assert "does not answer" in replace(report, failures=("x",)).meaning


def test_a_report_survives_its_file(bundle: Path) -> None:
    for report in (report_of(bundle), report_of(bundle, max_flipped_share=0.0, max_logit_difference=0.0)):
        text = json.dumps(report.to_json(), allow_nan=False)
        assert CheckReport.from_json(json.loads(text)) == report
        assert json.loads(text)["passed"] is report.passed


def test_a_report_with_the_names_of_before_is_read(bundle: Path) -> None:
    report = report_of(bundle)
    stored = report.to_json()
    former = {"test_accuracy": "training", "latent_test_accuracy": "latent_stream"}
    stored["accuracy"] = {former.get(name, name): value for name, value in stored["accuracy"].items()}
    assert "training" in stored["accuracy"]
    assert CheckReport.from_json(stored) == report


@pytest.mark.parametrize("value", [None, [], {}, {"accuracy": {}}, {"passed": True, "failures": []}])
def test_what_is_no_report_is_refused(value: Any) -> None:
    with pytest.raises(DataError, match="no report of the accuracy check"):
        CheckReport.from_json(value)


@pytest.mark.parametrize(
    ("part", "name", "value"),
    [
        ("accuracy", "deployed", 1.5), ("accuracy", "majority", -0.1), ("agreement", "flipped_share", 2.0),
        ("", "samples", 0), ("size_bytes", "packed", 0), ("latency_ms", "latentbit", 0),
        ("accuracy", "folded", 10**400),
    ],
)  # fmt: skip
def test_a_figure_that_no_check_gives_is_refused(bundle: Path, part: str, name: str, value: Any) -> None:
    stored = report_of(bundle).to_json()
    entries = stored[part] if part else stored
    entries[name] = entries[name] | {"median": 0} if name == "latentbit" else value
    with pytest.raises(DataError, match="no report of the accuracy check"):
        CheckReport.from_json(stored)


def test_answers_given_are_those_that_are_judged(bundle: Path) -> None:
    """The pipeline hands over what its stage run wrote; answers of other files are refused."""
    recorded = load_reference(bundle / "reference.npz")
    session = InferenceSession(bundle / "model.onnx")
    told: list[tuple[int, int]] = []
    answers = answer(
        session,
        recorded,
        model_sha256=sha256_file(bundle / "model.onnx"),
        progress=lambda done, total: told.append((done, total)),
    )
    assert told == [(64, SAMPLES), (SAMPLES, SAMPLES)]
    report = report_of(bundle, answers=answers)
    assert (report.passed, report.throughput) == (True, answers.throughput)
    wrong = replace(answers, outputs={"logits": answers.outputs["logits"] + 1})
    assert report_of(bundle, answers=wrong).failures[0].startswith("the largest logit difference is 1")
    for stale in (replace(answers, model_sha256="0"), replace(answers, reference_sha256="0")):
        with pytest.raises(DataError, match="run the model again"):
            report_of(bundle, answers=stale)


def test_a_model_of_fixed_batch_gets_its_last_batch_filled_up(bundle: Path) -> None:
    model = onnx.load(bundle / "model.onnx")
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 32
    onnx.save(model, bundle / "model.onnx")
    report = report_of(bundle)
    assert (report.failures, report.samples) == ((), SAMPLES)
    assert report.agreement.oracle_integers_compared == 8 * (12 * 64 + 24 * 16 + 10)


def test_every_figure_can_fail(bundle: Path) -> None:
    recorded = load_reference(bundle / "reference.npz")
    other = recorded.logits[:, ::-1] + 1
    alter(bundle, logits=other, labels=other.argmax(axis=1))
    failures = report_of(bundle).failures
    assert [re.split(" is | from ", sentence)[0] for sentence in failures] == [
        "the largest logit difference", "top-1 agreement", "accuracy falls",
    ]  # fmt: skip


def test_flipped_signs_are_counted_by_layer(bundle: Path) -> None:
    recorded = load_reference(bundle / "reference.npz")
    name = sorted(recorded.signs)[0]
    signs = recorded.signs[name].copy()
    signs[3, 2, 1, 0] *= -1
    alter(bundle, **{f"signs/{name}": pack_signs(signs, axis=1)})
    flipped = dict(report_of(bundle).agreement.flipped_signs)
    assert flipped.pop(name) == 1
    assert set(flipped.values()) == {0}


def test_a_few_flipped_signs_are_no_failure_and_many_are(bundle: Path) -> None:
    recorded = load_reference(bundle / "reference.npz")
    name = sorted(recorded.signs)[0]
    signs = recorded.signs[name].copy()
    signs[3, 2, 1, 0] *= -1
    alter(bundle, **{f"signs/{name}": pack_signs(signs, axis=1)})
    report = report_of(bundle, max_flipped_share=0.01, max_flip_distance=1.0)
    assert (report.passed, report.agreement.flipped_images) == (True, 1)
    total = sum(value.size for value in recorded.signs.values())
    assert report.agreement.flipped_share == pytest.approx(1 / total)
    assert name in report.agreement.flip_margins  # with this sign turned, later ones may turn too
    assert all(0 < margin <= 1 for margin in report.agreement.flip_margins.values())
    assert set(report.agreement.integer_mismatches) == set(report.kernels)
    (failure,) = report_of(bundle, max_flipped_share=0.5 / total, max_flip_distance=1.0).failures
    assert "of all signs are flipped" in failure


def test_logits_behind_a_flipped_sign_are_judged_by_the_recorded_signs(bundle: Path) -> None:
    """Behind a sign that a float sum has turned all differs, but not where each layer is given what was recorded."""
    recorded = load_reference(bundle / "reference.npz")
    name = sorted(recorded.signs)[0]
    signs, logits = recorded.signs[name].copy(), recorded.logits.copy()
    signs[3, 2, 1, 0] *= -1
    logits[3, 1] += 0.5
    alter(bundle, logits=logits, **{f"signs/{name}": pack_signs(signs, axis=1)})
    report = report_of(bundle, max_flipped_share=0.01, max_flip_distance=1.0, min_top1_agreement=0.0)
    assert report.agreement.max_abs_logit_difference == pytest.approx(0.5, abs=1e-3)
    assert report.agreement.max_abs_logit_difference_unflipped is not None
    assert report.agreement.max_abs_logit_difference_unflipped < 1e-3
    (failure,) = report.failures
    assert failure.startswith("given the recorded signs, the file answers 0.5 off the recorded logits on samples")
    logits[5] += 0.5  # and this image has no flipped sign
    alter(bundle, logits=logits)
    failures = report_of(bundle, max_flipped_share=0.01, max_flip_distance=1.0, min_top1_agreement=0.0).failures
    assert failures[0].startswith("the largest logit difference is 0.5")


def test_a_logit_that_is_no_number_fails(bundle: Path) -> None:
    logits = load_reference(bundle / "reference.npz").logits.copy()
    logits[0, 0] = np.nan
    alter(bundle, logits=logits)
    assert "a logit is no finite number, here or in the reference" in report_of(bundle).failures


def test_an_integer_that_differs_fails(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trace = InferenceSession.trace

    def off_by_one(self: InferenceSession, feeds: Any) -> Any:
        layers = trace(self, feeds)
        layers[1].accumulators[0, 0, 0, 0] += 2
        return layers

    monkeypatch.setattr(InferenceSession, "trace", off_by_one)
    report = report_of(bundle)
    assert report.agreement.oracle_integer_mismatches == 1
    assert "1 integers differ from the oracle" in report.failures[0]


def test_a_reference_that_is_wrong(bundle: Path) -> None:
    with pytest.raises(DataError, match="there is no reference file"):
        check(bundle / "model.onnx", bundle / "nowhere.npz")
    (bundle / "broken.npz").write_bytes(b"no zip")
    with pytest.raises(DataError, match=r"broken\.npz is no reference file"):
        check(bundle / "model.onnx", bundle / "broken.npz")
    alter(bundle, labels=np.zeros(3, np.int64))
    with pytest.raises(DataError, match="differ in length"):
        report_of(bundle)


def test_the_command(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--latency-runs", "2", "--oracle-samples", "4"]
    assert main(["check", str(bundle), "--json", *options]) == 0
    assert json.loads(capsys.readouterr().out)["passed"] is True
    recorded = load_reference(bundle / "reference.npz")
    alter(bundle, logits=recorded.logits + 1)
    assert main(["check", str(bundle), *options]) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith("error: the largest logit difference is 1")
    assert "passed: False" in captured.out


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_logit_difference", -1.0),
        ("min_top1_agreement", 1.5),
        ("max_flipped_share", float("nan")),
        ("oracle_samples", 0),
    ],
)
def test_a_tolerance_that_cannot_be_is_refused(name: str, value: float) -> None:
    given: dict[str, Any] = {name: value}
    with pytest.raises(ConfigError, match=f"{name} = {value} must be"):
        Tolerances(**given)


def test_a_tolerance_of_another_version_is_refused() -> None:
    assert Tolerances.from_json({"oracle_samples": 4}) == Tolerances(oracle_samples=4)
    with pytest.raises(DataError, match="no tolerance max_colour"):
        Tolerances.from_json({"max_colour": 1})
