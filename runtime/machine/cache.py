"""The cache of kernels compiled here. It is code, so only this user may have written it.

::

    latentbit/kernels/            0700, in the cache folder of the user
        key                       0600, random: seals what is written here
        SOURCES/MODULE-CPU.o      an object file, and its HMAC-SHA256 under the key behind it

An object that another wrote has no seal of this key, and is not used. Nor is a folder that belongs to somebody else, or
that others may write: then one warning says so, and the kernels are compiled again at each start.
"""

import hmac
import os
import tempfile
import warnings
from contextlib import suppress
from functools import cache
from pathlib import Path

from ..errors import StorageError
from ..files import atomic_path
from .library import source_digest
from .ownership import distrust, read_own

__all__ = ["keep_object", "kept_object"]

_KEY_BYTES = _SEAL_BYTES = 32


def kept_object(name: str) -> bytes | None:
    """Return the object file of this name, None where there is none, or none that this user has sealed."""
    if (store := _store(_root())) is None:
        return None
    folder, key = store
    try:
        content = read_own(folder / source_digest()[:16] / name)
    except FileNotFoundError:
        return None
    except OSError as error:
        _warn_of_object(folder, f"{error.filename} {error.strerror}")
        return None
    data, seal = content[:-_SEAL_BYTES], content[-_SEAL_BYTES:]
    return data if hmac.compare_digest(seal, _seal(key, name, data)) else None


def keep_object(name: str, data: bytes) -> None:
    """Write an object file for the processes to come; where that cannot be, one warning says so."""
    if (store := _store(_root())) is None:
        return
    folder, key = store
    try:
        place = folder / source_digest()[:16]
        place.mkdir(mode=0o700, exist_ok=True)
        with atomic_path(place / name, mode=0o600) as part:
            part.write_bytes(data + _seal(key, name, data))
    except StorageError as error:
        _warn(str(error))
    except OSError as error:
        _warn(f"cannot write {error.filename}: {error.strerror}")


def _seal(key: bytes, name: str, data: bytes) -> bytes:
    return hmac.digest(key, name.encode() + b"\0" + data, "sha256")


def _root() -> Path | None:
    """Return the user's cache folder, None where there is neither a variable that names it nor a home."""
    named = os.environ.get("NUMBA_CACHE_DIR") or os.environ.get("XDG_CACHE_HOME")
    with suppress(RuntimeError):  # no HOME, and a uid that no list of users knows
        return Path(named) if named else Path.home() / ".cache"
    return None


@cache
def _store(root: Path | None) -> tuple[Path, bytes] | None:
    """Return our folder in the user's cache folder, with its key; None, and a warning, where none can be trusted."""
    if root is None:
        _warn("this user has no home; name a folder in XDG_CACHE_HOME")
        return None
    folder = root / "latentbit" / "kernels"
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        if (reason := distrust(folder)) is not None:
            _warn(f"{folder} {reason}")
            return None
        return folder, _key(folder / "key")
    except PermissionError as error:
        _warn(f"cannot use {error.filename}: {error.strerror}")
    except OSError as error:
        _warn(f"cannot write {error.filename}: {error.strerror}")
    return None


def _key(path: Path) -> bytes:
    """Return the key, made at first use. Of two processes that make one, the first to name it is right."""
    with suppress(FileNotFoundError):
        key = read_own(path, secret=True)
        if len(key) == _KEY_BYTES:
            return key
        path.unlink()  # it is cut: all that it sealed is made anew
    handle, part = tempfile.mkstemp(dir=path.parent, prefix=".key-", suffix=".part")  # 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(os.urandom(_KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(part, path)
        except FileExistsError:
            pass
        except OSError:  # a file system without hard links: the last process to name its key is right
            os.replace(part, path)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(part)
    return read_own(path, secret=True)


@cache
def _warned(folder: Path) -> list[str]:
    return []


def _warn_of_object(folder: Path, reason: str) -> None:
    """Warn of the first object in a folder that is not to be trusted: what is wrong is mostly wrong with all."""
    if not _warned(folder):
        _warned(folder).append(reason)
        _warn(reason)


def _warn(reason: str) -> None:
    warnings.warn(f"kernels are compiled again at each start: {reason}", RuntimeWarning, stacklevel=2)
