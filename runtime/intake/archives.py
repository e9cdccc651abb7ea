"""What a zip file may unpack to, looked at before anything is unpacked: how many files, how large, of what names."""

import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import Any

from ..errors import DataError
from .limits import current_limits

__all__ = ["UNREADABLE", "check_archive", "check_npz", "is_inside"]

UNREADABLE: tuple[type[Exception], ...] = (
    *(OSError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError, ValueError),
)
"""What reading a damaged or an encrypted zip file raises."""

_PLAIN = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_SMALL = 64 * 2**20
"""Bytes: below that a large ratio is no danger, and zeros have one."""


def check_archive(archive: zipfile.ZipFile, shown: Any) -> None:
    """Raise DataError for an archive that passes the limits, or that holds what no program of ours writes.

    The sizes that are compared are those that the archive states; reading an entry never gives more.
    """
    limits, entries = current_limits(), archive.infolist()
    if len(entries) > limits.archive_files:
        raise DataError(f"{shown} holds {len(entries)} files, and the limit archive_files is {limits.archive_files}")
    for entry in entries:
        if entry.compress_type not in _PLAIN:
            raise DataError(f"{shown}: {entry.filename!r} is compressed in an unusual way; make it again")
    if len({entry.filename for entry in entries}) < len(entries):
        raise DataError(f"{shown} holds a file twice; make it again")
    size, packed = sum(entry.file_size for entry in entries), sum(entry.compress_size for entry in entries)
    if size > limits.archive_bytes:
        raise DataError(f"{shown} unpacks to {size} bytes, and the limit archive_bytes is {limits.archive_bytes}")
    if size > max(_SMALL, limits.archive_ratio * packed):
        raise DataError(
            f"{shown} unpacks to {size} bytes of {packed}, and the limit archive_ratio is {limits.archive_ratio}"
        )


def check_npz(path: Path) -> None:
    """Raise DataError for an ``.npz`` file past the limits, or a pipe; what is no zip file is left to its reader."""
    if path.exists() and not path.is_file():  # whoever opens a pipe waits for its writer
        raise DataError(f"{path} is no plain file; copy it again")
    try:
        with zipfile.ZipFile(path) as archive:
            check_archive(archive, path.name)
    except UNREADABLE:
        return


def is_inside(name: str) -> bool:
    """Tell whether a file of this name lies in the folder that it is put into."""
    path = PurePosixPath(name)
    return bool(name) and not path.is_absolute() and ".." not in path.parts and "\0" not in name and "\\" not in name
