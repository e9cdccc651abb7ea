"""Whose a file is: native code is loaded only from what nobody else can have written, as ssh takes its keys.

A file or folder is trusted that belongs to this user or to root, and that no group and no others may write. A folder
like /tmp is open to all, but its sticky bit leaves every file to its owner.
"""

import errno
import os
import stat
from pathlib import Path

__all__ = ["distrust", "read_own"]

_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def distrust(path: str | os.PathLike[str]) -> str | None:
    """Return why a file or folder is not to be trusted, and how to mend it; None where it is. Raises OSError."""
    return _reason(os.stat(path), path, _OTHERS_WRITE)


def read_own(path: Path, *, secret: bool = False) -> bytes:
    """Return the bytes of a file that is to be trusted; secret: and that nobody else may read.

    The file that is looked at is the file that is read, whatever becomes of its name in between.
    Raises OSError where it cannot be read, PermissionError where it is not to be trusted.
    """
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0)
    with os.fdopen(os.open(path, flags), "rb") as file:
        state = os.fstat(file.fileno())
        reason = _reason(state, path, stat.S_IRWXG | stat.S_IRWXO if secret else _OTHERS_WRITE)
        if reason is None and not stat.S_ISREG(state.st_mode):
            reason = "is no plain file: remove it"
        if reason is not None:
            raise PermissionError(errno.EPERM, reason, str(path))
        return file.read()


def _reason(state: os.stat_result, path: str | os.PathLike[str], forbidden: int) -> str | None:
    if not hasattr(os, "geteuid"):
        return None  # a system without owners of this kind
    if state.st_uid not in (os.geteuid(), 0):
        return f"belongs to another user: chown it, or copy it to a folder of your own ({os.fspath(path)})"
    shared = stat.S_ISDIR(state.st_mode) and state.st_mode & stat.S_ISVTX
    if state.st_mode & forbidden and not shared:
        return f"is open to others: chmod go-{'rwx' if forbidden & stat.S_IRGRP else 'w'} {os.fspath(path)}"
    return None
