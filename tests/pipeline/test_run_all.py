"""The main job with real processes: all stages, fresh, killed and resumed."""

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from latentbit.pipeline.paths import ANSWERS, FOLDED, FOLDING, MODEL, NETWORK, REFERENCE, REPORT, RUNNING, TRAINING
from latentbit.pipeline.rundir import RunDir
from latentbit.pipeline.sampling import stratified
from latentbit.pipeline.stages import STAGES
from latentbit.runtime.files import sha256_file
from latentbit.runtime.proof.report import CheckReport

from .conftest import SHORT, pipeline


def test_report_json_holds_the_figures(finished: Path) -> None:
    stored = json.loads((finished / REPORT).read_text(encoding="utf-8"))
    report = CheckReport.from_json(stored)
    assert report.to_json() == stored
    assert (report.passed, report.failures) == (True, ())
    assert report.agreement.oracle_integer_mismatches == 0
    assert report.size_bytes.packed == (finished / MODEL).stat().st_size
    assert report.size_bytes.packed < report.size_bytes.float
    trained = json.loads((finished / TRAINING).read_text(encoding="utf-8"))
    assert report.accuracy.test_accuracy == trained["test_accuracy"]
    assert report.accuracy.latent_test_accuracy == trained["latent_test_accuracy"]


def test_what_the_stage_run_answered_is_what_check_judges(finished: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(finished, tmp_path / "copy")
    with np.load(copy / ANSWERS) as answers:
        logits = answers["logits"]
    np.savez(copy / ANSWERS, logits=logits + 1)
    run = RunDir.open(copy)  # as if run had written these
    record = run.stages["run"]
    run.stages["run"] = replace(record, outputs={**record.outputs, ANSWERS: sha256_file(copy / ANSWERS)})
    run.save()
    done = pipeline("check", str(copy))
    assert done.returncode == 1
    assert done.stderr.startswith("error: the accuracy check failed: the largest logit difference is 1")
    figures = json.loads((copy / RUNNING).read_text(encoding="utf-8"))
    assert figures["model_sha256"] == sha256_file(copy / MODEL)


def test_a_training_without_a_manifest_is_taken_over(finished: Path, tmp_path: Path) -> None:
    """What a kill before the first run.json leaves behind, and what ``python -m latentbit.training`` makes."""
    run = tmp_path / "run"
    shutil.copytree(finished / "1-train", run / "1-train")
    done = pipeline("run-all", "-o", str(run), *SHORT)
    assert done.returncode == 0, done.stdout + done.stderr
    # A second training would have taken other seconds.
    assert (run / TRAINING).read_bytes() == (finished / TRAINING).read_bytes()
    assert (run / NETWORK).read_bytes() == (finished / NETWORK).read_bytes()


def test_a_smaller_reference_is_a_part_of_the_larger(finished: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(finished, tmp_path / "copy")
    done = pipeline("fold", str(copy), "-s", "fold.samples=101")
    assert done.returncode == 0, done.stdout + done.stderr
    with np.load(copy / REFERENCE) as part, np.load(finished / REFERENCE) as whole:
        chosen = stratified(whole["labels"], 101)
        assert len(chosen) == 101
        for name in whole.files:
            expected = whole[name] if name.startswith("shape/") else whole[name][chosen]
            np.testing.assert_array_equal(part[name], expected)
    figures, before = (json.loads((run / FOLDING).read_text(encoding="utf-8")) for run in (copy, finished))
    assert figures == before | {"samples": 101}, "accuracy is that of all test images"


def test_a_run_of_before_runs_its_model_again(finished: Path, tmp_path: Path) -> None:
    """Its stage run wrote no digests, and its files have the former names."""
    copy = shutil.copytree(finished, tmp_path / "copy")
    former = {"test_accuracy": "training", "latent_test_accuracy": "latent_stream"}
    metrics = json.loads((copy / TRAINING).read_text(encoding="utf-8"))
    (copy / TRAINING).write_text(json.dumps({former.get(name, name): value for name, value in metrics.items()}))
    (copy / RUNNING).unlink()
    run = RunDir.open(copy)
    outputs = {name: sha256_file(copy / name) for name in run.stages["train"].outputs}
    run.stages["train"] = replace(run.stages["train"], outputs=outputs)
    run.save()
    done = pipeline("run-all", "-o", str(copy))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "train   fresh" in done.stdout
    assert "4-run/metrics.json is missing" in done.stdout
    assert sha256_file(copy / MODEL) == sha256_file(finished / MODEL)


def test_a_run_that_was_folded_by_an_earlier_version_is_folded_again(finished: Path, tmp_path: Path) -> None:
    """It has folded.pt in the place of folded.onnx; nothing of the training is done again."""
    copy = shutil.copytree(finished, tmp_path / "copy")
    (copy / FOLDED).rename(copy / "2-fold/folded.pt")
    run = RunDir.open(copy)
    record = run.stages["fold"]
    outputs = {name.replace(".onnx", ".pt"): digest for name, digest in record.outputs.items()}
    run.stages["fold"] = replace(record, outputs=outputs)
    run.save()
    done = pipeline("export", str(copy))
    assert done.returncode == 1
    assert f"stage fold of {copy} is not complete ({FOLDED} is missing): start at it" in done.stderr
    done = pipeline("fold", str(copy))
    assert done.returncode == 0, done.stdout + done.stderr
    assert sha256_file(copy / FOLDED) == sha256_file(finished / FOLDED)
    assert not (copy / "2-fold/folded.pt").exists()


def test_the_folded_network_is_plain_and_its_packed_form_is_the_model(finished: Path) -> None:
    plain, packed = onnx.load(finished / FOLDED), onnx.load(finished / MODEL)
    assert not plain.functions
    assert {node.domain for node in plain.graph.node} == {""}
    layers = {node.name for node in packed.graph.node if node.op_type in ("BinaryConv2d", "BinaryGemm")}
    with np.load(finished / REFERENCE) as reference:
        assert {name.removeprefix("signs/") for name in reference.files if name.startswith("signs/")} == layers


def test_the_file_is_a_checked_onnx_model_that_stock_onnxruntime_runs(finished: Path) -> None:
    model = onnx.load(finished / MODEL)
    onnx.checker.check_model(model, full_check=True)
    assert {"BinaryConv2d", "Binarize"} <= {function.name for function in model.functions}
    with np.load(finished / REFERENCE, allow_pickle=False) as reference:
        inputs, logits = reference["inputs"], reference["logits"]
    session = onnxruntime.InferenceSession(finished / MODEL, providers=["CPUExecutionProvider"])
    answers = session.run(None, {session.get_inputs()[0].name: inputs})[0]
    np.testing.assert_allclose(answers, logits, atol=1e-4)  # float sums in another order
    np.testing.assert_allclose(np.load(finished / ANSWERS)["logits"], logits, atol=1e-4)


def test_the_manifest_tells_what_went_in_and_out(finished: Path) -> None:
    run = RunDir.open(finished)
    assert list(run.stages) == [stage.name for stage in STAGES]
    for stage in STAGES:
        record = run.stages[stage.name]
        assert record.finished
        assert record.seconds > 0
        for path, digest in {**record.inputs, **record.outputs}.items():
            assert sha256_file(finished / path) == digest, path


def test_a_second_run_is_fresh_within_five_seconds_and_without_torch(finished: Path) -> None:
    code = (
        "import sys; from latentbit.pipeline.cli import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit as ended:\n    code = ended.code\n"
        "print('loaded', [n for n in ('torch', 'numba', 'onnxruntime', 'sklearn') if n in sys.modules]); sys.exit(code)"
    )
    started = time.perf_counter()
    arguments = ["run-all", "-o", str(finished), *SHORT]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    assert time.perf_counter() - started < 5
    assert done.stdout.count("fresh") == len(STAGES)
    assert done.stdout.endswith("loaded []\n")


def test_the_table_ends_the_run(finished: Path) -> None:
    done = pipeline("run-all", "-o", str(finished), *SHORT)
    for words in ("float latent stream", "trained", "folded", "deployed", "model size", "onnxruntime fp32", "passed"):
        assert words in done.stdout


def test_a_check_out_of_tolerance_fails_the_run_and_says_which(finished: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(finished, tmp_path / "copy")
    model = onnx.load(copy / MODEL)
    bias = next(i for i in model.graph.initializer if i.name.endswith("head.bias") or i.name == "head.bias")
    values = onnx.numpy_helper.to_array(bias).copy()
    values[0] += 5
    bias.CopyFrom(onnx.numpy_helper.from_array(values, bias.name))
    onnx.save(model, copy / MODEL)
    run = RunDir.open(copy)  # as if export had written this file
    record = run.stages["export"]
    run.stages["export"] = replace(record, outputs={MODEL: sha256_file(copy / MODEL)})
    run.save()
    done = pipeline("run-all", "-o", str(copy))
    assert done.returncode == 1
    assert done.stderr.startswith("error: the accuracy check failed: ")
    assert done.stderr.count("\n") == 1
    assert (copy / "report.html").exists()
    again = pipeline("check", str(copy))
    assert again.returncode == 1, "a failed check stays failed when nothing changed"


def test_stages_as_commands(finished: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(finished, tmp_path / "copy")
    for stage in ("fold", "export", "run", "check", "report"):
        done = pipeline(stage, str(copy), "--force")
        assert done.returncode == 0, done.stdout + done.stderr
    assert sha256_file(copy / MODEL) == sha256_file(finished / MODEL), "the same weights give the same file"
    shown = pipeline("show", str(copy))
    assert shown.stdout.count("fresh") == len(STAGES)


@pytest.mark.parametrize("kills", [6, pytest.param(100, marks=[pytest.mark.slow, pytest.mark.timeout(3600)])])
def test_killed_at_random_moments_it_resumes_to_the_same_result(finished: Path, tmp_path: Path, kills: int) -> None:
    """SIGKILL at random moments; whatever is left, the next process goes on, and the weights are those of no kill."""
    chance = random.Random(7)
    path = tmp_path / "run"
    command = [sys.executable, "-m", "latentbit", "run-all", "-o", str(path), *SHORT]
    for _ in range(kills):
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            time.sleep(chance.uniform(0.3, 9.0))
            process.send_signal(signal.SIGKILL)
        RunDir.open(path)  # never a corrupt manifest
    done = pipeline("run-all", "-o", str(path), *SHORT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert sha256_file(path / NETWORK) == sha256_file(finished / NETWORK)
    assert sha256_file(path / MODEL) == sha256_file(finished / MODEL)
    assert not [file for file in path.rglob("*") if ".part" in file.name], "no half-written file is left"


def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    """A real one, of 128 KiB, where the test may mount it: the checkpoint of the first epoch does not fit."""
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(tmp_path)], capture_output=True
    ).returncode:
        pytest.skip("mounting a small disk needs root")
    try:
        done = pipeline("run-all", "-o", str(tmp_path / "run"), *SHORT)
        assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
        assert done.stderr.startswith("error: cannot write ")
        assert "space" in done.stderr
        assert RunDir.open(tmp_path / "run").stages["train"].finished is False
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


@pytest.mark.slow
def test_the_recipe_reaches_its_accuracy(tmp_path: Path) -> None:
    """The gate of the digits recipe: 97% or better, whole run within two minutes on two cores."""
    started = time.perf_counter()
    done = pipeline("run-all", "-o", str(tmp_path / "digits"))
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((tmp_path / "digits" / REPORT).read_text(encoding="utf-8"))
    assert report["accuracy"]["deployed"] >= 0.97
    assert time.perf_counter() - started < 120
