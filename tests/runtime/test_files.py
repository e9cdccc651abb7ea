"""Files are written whole or not at all, and what the disk refuses is one clear line."""

import errno
import hashlib
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from latentbit.runtime.errors import StorageError
from latentbit.runtime.files import (
    atomic_path,
    make_folder,
    parse_json,
    remove_parts,
    sha256_file,
    write_bytes,
    write_json,
)


def test_writes_and_replaces(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "er" / "a.json"
    write_json(target, {"ü": [1, None]})
    assert target.read_text(encoding="utf-8") == '{\n  "ü": [\n    1,\n    null\n  ]\n}\n'
    write_bytes(target, b"new")
    assert target.read_bytes() == b"new"
    assert [path.name for path in target.parent.iterdir()] == ["a.json"]
    assert sha256_file(target) == hashlib.sha256(b"new").hexdigest()


def test_mode_follows_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_bytes(tmp_path / "a", b"")
        assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640
    finally:
        os.umask(before)


def test_an_exception_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "a.bin"
    write_bytes(target, b"old")

    def interrupted() -> None:
        with atomic_path(target) as part:
            part.write_bytes(b"ha")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        interrupted()
    assert target.read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 1


def test_nan_is_no_json(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", float("nan"))
    assert list(tmp_path.iterdir()) == []


def test_a_limit_of_the_system_is_one_line(tmp_path: Path) -> None:
    """A real refusal by the kernel, in the middle of a file: the largest file size of the process."""
    code = (
        "import sys\nfrom latentbit.runtime.files import write_bytes\n"
        "from latentbit.runtime.errors import StorageError\n"
        "try:\n    write_bytes(sys.argv[1], b'x' * 100_000)\nexcept StorageError as error:\n    print(error)"
    )
    target = tmp_path / "a.bin"
    done = subprocess.run(
        [sys.executable, "-c", code, str(target)],
        capture_output=True,
        text=True,
        check=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)),
    )
    assert done.stdout == f"cannot write {target}: File too large\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("number", "mend"),
    [(errno.ENOSPC, "the disk is full"), (errno.EROFS, "read-only"), (errno.EACCES, "no permission")],
)
def test_the_mend_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, mend: str) -> None:
    def refuse(handle: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(StorageError, match=mend):
        write_bytes(tmp_path / "a", b"x")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk(tmp_path: Path) -> None:
    """A real one, of 64 KiB, where the test may mount it."""
    disk = make_folder(tmp_path / "disk")
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], capture_output=True).returncode:
        pytest.skip("mounting a small disk needs root")
    try:
        write_bytes(disk / "small", b"x" * 1000)
        with pytest.raises(StorageError, match="the disk is full: free some space"):
            write_bytes(disk / "large", b"x" * 200_000)
        assert [path.name for path in disk.iterdir()] == ["small"]
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        with pytest.raises(StorageError, match="the file system is read-only"):
            write_bytes(disk / "other", b"x")
        with pytest.raises(StorageError, match="the file system is read-only"):
            make_folder(disk / "folder")
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_litter_of_a_killed_process_is_removed(tmp_path: Path) -> None:
    code = (
        "import os, sys; from latentbit.runtime.files import atomic_path\n"
        "with atomic_path(sys.argv[1]) as part:\n    part.write_bytes(b'ha'); os.kill(os.getpid(), 9)"
    )
    write_bytes(tmp_path / "a.bin", b"old")
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "a.bin")], check=False)
    assert len(list(tmp_path.iterdir())) == 2
    remove_parts(tmp_path)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "", "{", b"\xff", "9" * 5000])
def test_what_is_no_json_is_a_value_error(text: str | bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_json(text)
    assert parse_json('{"a": [1]}') == {"a": [1]}
