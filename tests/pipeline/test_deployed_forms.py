"""The forms a run can deploy: pixels as input, an exact stem, int8 storage, ranked classes."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from latentbit.pipeline.paths import MODEL, PLAIN, REFERENCE, REPORT
from latentbit.runtime import InferenceSession

from .conftest import SHORT, pipeline


def deploy(finished: Path, path: Path, *settings: str) -> dict[str, Any]:
    shutil.copytree(finished, path)
    options = [word for setting in settings for word in ("-s", setting)]
    done = pipeline("run-all", "-o", str(path), *SHORT, *options, "--from", "fold")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "\ntrain" not in done.stdout, "nothing of training depends on what is deployed"
    report: dict[str, Any] = json.loads((path / REPORT).read_text(encoding="utf-8"))
    return report


def test_an_exact_stem_flips_no_sign(finished: Path, tmp_path: Path) -> None:
    forms = ("fold.input=exact", "fold.int8_weights=true", "export.top_k=3")
    # Rounding the stem to int8 changes the network, and three epochs leave thin margins: some of 539 images turn.
    report = deploy(finished, tmp_path / "run", *forms, "check.max_accuracy_drop=0.05")
    assert report["agreement"]["oracle_integer_mismatches"] == 0
    assert report["agreement"]["flipped_signs"]["blocks.0.conv"] == 0, "what the stem feeds is exact"
    with np.load(tmp_path / "run" / REFERENCE, allow_pickle=False) as reference:
        images, logits = reference["inputs"], reference["logits"]
    assert images.dtype == np.uint8
    assert images.shape[1:] == (8, 8, 1)
    for session in (
        InferenceSession(tmp_path / "run" / MODEL),
        onnxruntime.InferenceSession(tmp_path / "run" / MODEL, providers=["CPUExecutionProvider"]),
    ):
        answers, labels, scores = session.run(None, {"input": images})
        np.testing.assert_allclose(answers, logits, atol=1e-4)
        best = np.argsort(-answers, axis=1, kind="stable")[:, :3]
        assert labels.tolist() == best.astype(str).tolist()
        assert np.all(np.diff(scores, axis=1) <= 0)


def test_normalisation_in_the_graph_changes_no_answer(finished: Path, tmp_path: Path) -> None:
    report = deploy(finished, tmp_path / "run", "fold.input=uint8")
    before = json.loads((finished / REPORT).read_text(encoding="utf-8"))
    assert report["accuracy"] == before["accuracy"]
    assert "latentbit.input" in InferenceSession(tmp_path / "run" / MODEL).get_modelmeta().custom_metadata_map


def test_a_plain_file_beside_the_model_answers_the_same(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path / "run")
    settings = ("-s", "fold.input=exact", "-s", "export.top_k=3", "-s", "export.plain_opset=17")
    done = pipeline("run-all", "-o", str(tmp_path / "run"), *SHORT, *settings, "--until", "export")
    assert done.returncode == 0, done.stdout + done.stderr
    plain = onnx.load(tmp_path / "run" / PLAIN)
    assert not plain.functions
    assert {entry.version for entry in plain.opset_import if not entry.domain} == {17}
    with np.load(tmp_path / "run" / REFERENCE, allow_pickle=False) as reference:
        images = reference["inputs"][:50]
    ours, theirs = (
        onnxruntime.InferenceSession(tmp_path / "run" / name, providers=["CPUExecutionProvider"]).run(
            None, {"input": images}
        )
        for name in (MODEL, PLAIN)
    )
    np.testing.assert_allclose(theirs[0], ours[0], atol=1e-5)
    assert theirs[1].tolist() == ours[1].tolist()
    done = pipeline("export", str(tmp_path / "run"), "-s", "export.plain_opset=0")
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "run" / PLAIN).exists(), "no plain file of another model is left behind"


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("fold.input=exakt", "must be one of float32, uint8, exact: did you mean 'exact'?"),
        ("export.top_k=11", "export.top_k = 11, but digits has 10 classes"),
        ("export.plain_opset=9", "export.plain_opset = 9, but 14 is the oldest"),
    ],
)
def test_impossible_forms_are_refused(finished: Path, tmp_path: Path, setting: str, message: str) -> None:
    shutil.copytree(finished, tmp_path / "run")
    done = pipeline("run-all", "-o", str(tmp_path / "run"), "-s", setting, "--from", "fold")
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
