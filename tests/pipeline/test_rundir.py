"""The run directory: its manifest, its lock, and what it refuses."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from latentbit.pipeline import config as configuration
from latentbit.pipeline.rundir import FORMAT_VERSION, RunDir, StageRecord
from latentbit.runtime.errors import RunDirError, StorageError


def saved(path: Path) -> RunDir:
    run = RunDir(path, configuration.read(None, ["train.epochs=3"]))
    run.stages["train"] = StageRecord({"epochs": 3}, True, {}, {"1-train/network.pt": "cd"}, 1.5)
    run.save()
    return run


def test_manifest_reads_back(tmp_path: Path) -> None:
    run = saved(tmp_path / "run")
    again = RunDir.open(tmp_path / "run")
    assert (again.config, again.stages, again.exists) == (run.config, run.stages, True)


def test_manifest_says_what_made_the_run(tmp_path: Path) -> None:
    saved(tmp_path)
    value = json.loads((tmp_path / "run.json").read_text())
    assert value["format_version"] == FORMAT_VERSION
    assert value["seeds"] == {"train": 0}
    assert value["config"]["train"]["epochs"] == 3
    assert {"python", "latentbit", "numpy", "onnxruntime"} <= set(value["versions"])


def test_no_run_yet(tmp_path: Path) -> None:
    assert not RunDir.open(tmp_path / "new").exists
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / ".run-x.part.json").touch()  # of a process killed while it wrote the first manifest
    assert not RunDir.open(tmp_path / "empty").exists


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"format_version": 1}', '{"format_version": 1, "config": 3}'])
def test_corrupt_manifest_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(RunDirError, match=r"run\.json") as refused:
        RunDir.open(tmp_path)
    assert "\n" not in str(refused.value)


def test_unknown_stage_record_or_key_is_refused(tmp_path: Path) -> None:
    saved(tmp_path)
    file = tmp_path / "run.json"
    value = json.loads(file.read_text())
    for change in ({"config": {"train": {"epochs": "3"}}}, {"stages": {"train": {"colour": 1}}}):
        file.write_text(json.dumps(value | change))
        with pytest.raises(RunDirError, match="corrupt"):
            RunDir.open(tmp_path)


def test_other_version_is_refused_with_the_mend(tmp_path: Path) -> None:
    saved(tmp_path)
    file = tmp_path / "run.json"
    file.write_text(file.read_text().replace(f'"format_version": {FORMAT_VERSION}', '"format_version": 99'))
    with pytest.raises(RunDirError, match="format version 99, this latentbit reads 1: start a new run"):
        RunDir.open(tmp_path)


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(RunDirError, match="no run directory"):
        RunDir.open(tmp_path)
    with pytest.raises(RunDirError, match="is a file"):
        RunDir.open(tmp_path / "thesis.txt")


def test_a_folder_of_stages_alone_is_a_run(tmp_path: Path) -> None:
    (tmp_path / "1-train").mkdir()
    assert not RunDir.open(tmp_path).exists
    (tmp_path / "1-train.zip").touch()
    with pytest.raises(RunDirError, match="no run directory"):
        RunDir.open(tmp_path)


def test_a_path_below_a_file_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    run = RunDir.open(tmp_path / "file" / "run")
    with pytest.raises(StorageError, match="cannot write"), run.lock():
        pass


def test_two_processes_cannot_hold_one_run(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from latentbit.pipeline.rundir import RunDir\n"
        "with RunDir.open(Path(sys.argv[1])).lock():\n    print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(RunDirError, match=f"in use by process {other.pid}"), RunDir.open(tmp_path).lock():
            pass
        other.kill()  # the lock dies with its process
        other.wait()
    with RunDir.open(tmp_path).lock():
        pass


def test_prepare_empties_or_keeps(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    folder = tmp_path / "1-train"
    folder.mkdir()
    (folder / "checkpoint.pt").touch()
    (folder / ".network-abc.part.pt").touch()
    run.prepare("1-train", keep=True)
    assert [path.name for path in folder.iterdir()] == ["checkpoint.pt"]
    run.prepare("1-train", keep=False)
    assert list(folder.iterdir()) == []
