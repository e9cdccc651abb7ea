"""Whole files or none: every file latentbit writes goes to a temporary name beside its place and is renamed.

A process killed at any moment leaves the old file, or none; a full disk or a read-only folder becomes one
:class:`StorageError` that names the path. Every wing writes through :func:`atomic_path`.
"""

import contextlib
import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .errors import StorageError

__all__ = [
    "MENDS",
    "atomic_path",
    "make_folder",
    "parse_json",
    "remove_parts",
    "scratch_folder",
    "sha256_file",
    "write_bytes",
    "write_json",
]

MENDS = {
    errno.ENOSPC: "the disk is full: free some space",
    errno.EDQUOT: "the disk quota is used up: free some space",
    errno.EROFS: "the file system is read-only: choose another folder",
    errno.EACCES: "no permission to write there: choose another folder or change its mode",
    errno.EPERM: "no permission to write there: choose another folder or change its mode",
    errno.ENOTDIR: "a part of the path is a file, not a folder: choose another folder",
    errno.EEXIST: "a file of that name is in the way: choose another folder",
    errno.EISDIR: "a folder of that name is in the way: choose another name",
    errno.ENAMETOOLONG: "the name is too long: choose a shorter one",
}
"""What to do about an error of the system while writing, by its number."""


def _storage_error(path: Path, error: OSError) -> StorageError:
    reason = MENDS.get(error.errno or 0, error.strerror or str(error))
    return StorageError(f"cannot write {path}: {reason}")


def make_folder(path: str | os.PathLike[str], *, mode: int = 0o777) -> Path:
    """Make the folder ``path`` with its parents, if need be, and return it. Raises :class:`StorageError`.

    mode: permissions of a new folder, less those that the umask of the process takes away.
    """
    folder = Path(path)
    try:
        folder.mkdir(mode, parents=True, exist_ok=True)
    except OSError as error:
        raise _storage_error(folder, error) from error
    return folder


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str], *, mode: int = 0o666) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; when the block ends well it is flushed to disk and renamed to ``path``.

    On an exception the temporary file is removed and ``path`` is as before. OSErrors become :class:`StorageError`.
    The temporary name is hidden and keeps the suffix of ``path``: ``np.save`` and others append a missing one.
    mode: permissions of the file, less those that the umask of the process takes away.
    """
    final = Path(path)
    make_folder(final.parent)
    try:
        handle, name = tempfile.mkstemp(dir=final.parent, prefix=f".{final.stem}-", suffix=f".part{final.suffix}")
        os.close(handle)
    except OSError as error:
        raise _storage_error(final, error) from error
    part = Path(name)
    try:
        yield part
        with part.open("rb") as written:
            os.fsync(written.fileno())
        part.chmod(mode & ~_umask())
        part.replace(final)
        _flush_folder(final.parent)
    except OSError as error:
        raise _storage_error(final, error) from error
    finally:
        with contextlib.suppress(OSError):  # renamed already, or the disk does not even let us clean up
            part.unlink(missing_ok=True)


@contextlib.contextmanager
def scratch_folder(prefix: str, parent: str | os.PathLike[str] | None = None) -> Iterator[Path]:
    """Yield a folder that is gone afterwards, in ``parent`` (None: where the system keeps such folders).

    Raises :class:`StorageError` where none can be made.
    """
    try:
        scratch = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    except OSError as error:
        raise _storage_error(Path(error.filename or parent or "a temporary folder"), error) from error
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def remove_parts(folder: str | os.PathLike[str]) -> None:
    """Remove the temporary files that a killed process left in ``folder`` (the caller knows that no other writes)."""
    for part in Path(folder).glob(".*.part*"):
        with contextlib.suppress(OSError):  # litter, and no reason to stop
            part.unlink()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _flush_folder(folder: Path) -> None:
    """Make the rename itself durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """Write ``data`` to ``path``, whole or not at all. Raises :class:`StorageError`."""
    with atomic_path(path) as part:
        part.write_bytes(data)


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write ``value`` as indented UTF-8 JSON (NaN refused: it is no JSON), whole or not at all."""
    write_bytes(path, (json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode())


def parse_json(text: str | bytes) -> Any:
    """Return the value of a JSON text. Raises ValueError for any other text; the standard library has no such promise.

    It raises RecursionError for what is nested some thousand times, which a few kilobytes can be.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def sha256_file(path: str | os.PathLike[str]) -> str:
    """Return the hexadecimal SHA-256 of a file's bytes."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
