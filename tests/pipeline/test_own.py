"""``pipeline init``, and runs of a user's own network, data, loss and metric, in real processes."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from latentbit.pipeline.paths import MODEL, REFERENCE, REPORT, TRAINING
from latentbit.pipeline.rundir import RunDir
from latentbit.pipeline.starter import write_starter
from latentbit.runtime.errors import StorageError
from latentbit.runtime.proof.report import CheckReport

from ..support.own import write_code
from .conftest import pipeline

QUICK = ("-s", "check.oracle_samples=4", "-s", "check.latency_runs=10", "-s", "train.epochs=3", "-s", "fold.samples=40")
PLACES = """
[train]
model = "mine_networks:heads"
data = "mine_data:places"
loss = "mine_tasks:of_places"
metric = "mine_metrics:of_places"
batch_size = 32
learning_rate = 0.01
latent = "none"
"""


def done(*arguments: str) -> str:
    """Run the pipeline, which must succeed, and return what it said."""
    finished = pipeline(*arguments)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout


def device(*arguments: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    """Run the device's commands in a folder, where no module of the user's is found unless it lies there."""
    command = [sys.executable, "-m", "latentbit.runtime", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=dict(os.environ))


def verdict(run: Path) -> CheckReport:
    return CheckReport.from_json(json.loads((run / REPORT).read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A finished run of a network with two outputs, and the folder of its code."""
    folder = write_code(tmp_path_factory.mktemp("code"), "mine")
    (folder / "places.toml").write_text(PLACES, encoding="utf-8")
    run = tmp_path_factory.mktemp("runs") / "places"
    done("run-all", "-c", str(folder / "places.toml"), "-o", str(run), *QUICK)
    return run, folder


def test_init_writes_a_folder_that_runs_at_once(tmp_path: Path) -> None:
    folder, run = tmp_path / "kw", tmp_path / "run"
    said = done("init", str(folder))
    assert f"latentbit run-all -c {folder / 'kw.toml'}" in said
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "data.py", "kw.toml", "network.py"]
    said = done("run-all", "-c", str(folder / "kw.toml"), "-o", str(run))
    assert "accuracy check: passed" in said
    report = verdict(run)
    assert report.accuracy.deployed is not None
    assert report.accuracy.deployed > 0.9
    assert len(report.kernels) == 2
    model = onnx.load(run / MODEL)
    facts = {entry.key: json.loads(entry.value) for entry in model.metadata_props}
    assert facts["latentbit.labels"] == ["across", "down", "diagonal", "dot"]
    assert str(tmp_path) not in str(facts), "a file that is given away says nothing of its maker's folders"
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "Accuracy by class" in page
    assert page.count("<img") == 24
    done("bundle", str(run), "-o", str(tmp_path / "kw.zip"), "--samples", "60")
    checked = device("check", str(tmp_path / "kw.zip"), folder=tmp_path)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "fresh" in done("run-all", "-o", str(run)), "the stored configuration says where the code lies"


def test_init_overwrites_nothing(tmp_path: Path) -> None:
    write_starter(tmp_path / "a")
    (tmp_path / "a" / "README.md").write_text("mine")
    with pytest.raises(StorageError, match=r"network\.py exists: name another folder"):
        write_starter(tmp_path / "a")
    assert (tmp_path / "a" / "README.md").read_text() == "mine"
    refused = pipeline("init", str(tmp_path / "a"))
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)


def test_two_outputs_are_judged_each_by_itself(places: tuple[Path, Path]) -> None:
    run, _ = places
    report = verdict(run)
    assert (report.passed, report.agreement.top1_agreement, report.accuracy.deployed) == (True, None, None)
    assert set(report.agreement.outputs) == {"kind", "place"}
    for output in report.agreement.outputs.values():
        assert output.max_abs_difference_unflipped is not None
        assert output.largest_value is not None
        assert output.max_abs_difference_unflipped < 1e-3 * output.largest_value
    assert report.metric == "mine_metrics:of_places"
    assert set(report.metrics) == {"trained", "folded", "folded_on_samples", "deployed"}
    trained = json.loads((run / TRAINING).read_text(encoding="utf-8"))["metrics"]
    assert report.metrics["trained"] == trained
    assert report.metrics["deployed"]["right"] == report.metrics["folded_on_samples"]["right"]
    with np.load(run / REFERENCE) as stored:
        names = {name for name in stored.files if not name.startswith(("signs/", "shape/"))}
        assert names == {"inputs", "outputs/kind", "outputs/place", "targets/kind", "targets/place"}
        assert len(stored["outputs/kind"]) == len(stored["targets/place"]) == 40
    page = (run / "report.html").read_text(encoding="utf-8")
    for words in ("largest difference of place", "right, deployed", "mine_networks:heads"):
        assert words in page
    assert "Accuracy by class" not in page
    assert [info.name for info in onnx.load(run / MODEL).graph.output] == ["kind", "place"]


def test_a_device_needs_no_code_of_the_users(places: tuple[Path, Path], tmp_path: Path) -> None:
    run, folder = places
    bundle = tmp_path / "places.zip"
    done("bundle", str(run), "-o", str(bundle), "--samples", "20")
    checked = device("check", str(bundle), "--json", folder=tmp_path)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    found = json.loads(checked.stdout)
    assert (found["passed"], found["samples"], set(found["metrics"])) == (
        True, 20, {"trained", "folded", "folded_on_samples"},
    )  # fmt: skip
    assert "the metric mine_metrics:of_places was not measured here: give --metric" in checked.stderr
    assert "mine" not in "".join(path.name for path in tmp_path.iterdir())
    own = device("check", str(bundle), "--json", "--metric", "mine_metrics:of_places", folder=folder)
    assert own.returncode == 0, own.stderr
    metrics = json.loads(own.stdout)["metrics"]
    assert metrics["deployed"] == pytest.approx(metrics["folded_on_samples"], abs=1e-4)
    assert metrics["folded_on_samples"] == pytest.approx(found["metrics"]["folded_on_samples"])
    refused = device("check", str(bundle), "--metric", "mine_metrics:of_places", folder=tmp_path)
    assert refused.returncode == 2
    assert refused.stderr.startswith("error: --metric = 'mine_metrics:of_places': there is no module mine_metrics in")


def test_a_changed_source_makes_its_stages_stale(places: tuple[Path, Path], tmp_path: Path) -> None:
    run, folder = shutil.copytree(places[0], tmp_path / "run"), shutil.copytree(places[1], tmp_path / "code")
    moved = ("-s", f"train.code={folder}")
    assert done("run-all", "-o", str(run), *moved).count("fresh") == 6, "where the code lies is no matter"
    (folder / "mine_metrics.py").write_text((folder / "mine_metrics.py").read_text().replace('"mse"', '"square"'))
    stages = done("show", str(run))
    assert stages.count("module mine_metrics changed") == 3  # train, fold and check
    (folder / "mine_metrics.py").unlink()
    assert "there is no module mine_metrics in" in done("show", str(run))
    refused = pipeline("run-all", "-o", str(run))
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "there is no module mine_metrics in" in refused.stderr


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("train.model=resnet19", "unknown model 'resnet19'"),
        ("train.data=cifar11", "unknown data set 'cifar11'"),
        ("train.model=mine_networks:nothing", "mine_networks has no nothing"),
        ("train.loss=mine_gone:loss", "there is no module mine_gone in"),
        ("train.augment=mirror", "train.augment = 'mirror' is unknown"),
    ],
)
def test_a_bad_value_is_refused_before_anything_is_stored(
    setting: str, words: str, places: tuple[Path, Path], tmp_path: Path
) -> None:
    config = places[1] / "places.toml"
    refused = pipeline("run-all", "-c", str(config), "-o", str(tmp_path / "run"), "-s", setting)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert words in refused.stderr
    assert not (tmp_path / "run").exists()


def test_a_bad_value_does_not_poison_a_run(places: tuple[Path, Path]) -> None:
    run, _ = places
    before = (run / "run.json").read_bytes()
    refused = pipeline("run-all", "-o", str(run), "-s", "train.model=resnet19")
    assert refused.returncode == 2
    assert (run / "run.json").read_bytes() == before
    assert RunDir.open(run).config.train.model == "mine_networks:heads"


def test_pixels_need_a_normalisation(places: tuple[Path, Path], tmp_path: Path) -> None:
    run = shutil.copytree(places[0], tmp_path / "run")
    refused = pipeline("fold", str(run), "-s", "fold.input=exact")
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "needs data whose normalisation is known, and mine_data:places returns a torch Dataset" in refused.stderr


def test_training_alone_takes_them_too(places: tuple[Path, Path], tmp_path: Path) -> None:
    _, folder = places
    run = tmp_path / "run"
    options = ["-s", "train.epochs=1", "-s", "train.model=mine_networks:mask", "-s", "train.data=mine_data:masks"]
    options += ["-s", "train.loss=mine_tasks:of_masks", "-s", "train.metric=mine_metrics:overlap"]
    command = [sys.executable, "-m", "latentbit.training", str(folder / "places.toml"), "-o", str(run), *options]
    trained = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert trained.returncode == 0, trained.stderr
    assert "'overlap'" in trained.stdout
    assert "accuracy 0" not in trained.stdout
    before = (run / TRAINING).read_bytes()
    said = done("run-all", "-c", str(folder / "places.toml"), "-o", str(run), *options, "-s", "fold.samples=10",
                *("-s", "check.oracle_samples=4", "-s", "check.latency_runs=5"))  # fmt: skip
    assert "largest difference of logits" in said
    assert (run / TRAINING).read_bytes() == before, "the finished training was taken over"
