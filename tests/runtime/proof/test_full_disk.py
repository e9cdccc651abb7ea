"""A full or read-only disk is one line wherever a bundle is made or unpacked, and behind the output of a command."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from latentbit.runtime import make_bundle, zoo
from latentbit.runtime.errors import StorageError
from latentbit.runtime.proof.bundle import open_bundle
from latentbit.runtime.proof.reference import load_reference

BUNDLE = Path(__file__).resolve().parents[2] / "data" / "digits.zip"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A real disk of 64 KiB, where the test may mount it: a bundle needs more."""
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(tmp_path)], capture_output=True
    ).returncode:
        pytest.skip("mounting a small disk needs root")
    try:
        yield tmp_path
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


@pytest.mark.parametrize("name", ["made", "made.zip"])
def test_making_a_bundle(disk: Path, name: str) -> None:
    with open_bundle(BUNDLE) as bundle:
        reference = load_reference(bundle.reference)
    with pytest.raises(StorageError, match=r"cannot write .*: the disk is full"):
        make_bundle(zoo.path("digits"), reference, disk / name)
    assert list(disk.iterdir()) == []
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    with pytest.raises(StorageError, match="the file system is read-only"):
        make_bundle(zoo.path("digits"), reference, disk / name)
    with pytest.raises(StorageError, match="the file system is read-only"):
        make_bundle(zoo.path("digits"), reference, disk / "deep" / name)


def test_unpacking_a_bundle(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(disk))
    said = r"cannot unpack .*: the disk is full; free some space, or set TMPDIR"
    with pytest.raises(StorageError, match=said), open_bundle(BUNDLE):
        pass
    assert list(disk.iterdir()) == []
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    with pytest.raises(StorageError, match="the file system is read-only"), open_bundle(BUNDLE):
        pass


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
@pytest.mark.parametrize(
    "command", [["info"], ["bench", "--runs", "2"], ["profile", "--runs", "2"], ["info", "--json"]]
)
def test_the_output_of_a_command(command: list[str]) -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    whole = [sys.executable, "-m", "latentbit.runtime", command[0], "zoo:digits", *command[1:]]
    with open("/dev/full", "w") as full:
        done = subprocess.run(whole, stdout=full, stderr=subprocess.PIPE, text=True, env=environment, check=False)
    assert done.returncode == 1
    assert done.stderr == "error: cannot write the output: the disk is full: free some space\n"
