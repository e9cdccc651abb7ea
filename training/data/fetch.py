"""Finding, downloading and verifying the files of a data set.

pooch does the same with six more packages. Here a file is whole or not there (:func:`atomic_path`), an error is one
line that says where to put the file by hand, and progress is told as by every command.
"""

import hashlib
import http.client
import os
import tarfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from ...runtime.errors import DataError, StorageError
from ...runtime.files import atomic_path
from ...runtime.terminal import Step, working

__all__ = ["data_root", "ensure", "extract", "verify"]

BLOCK = 1 << 20
TIMEOUT_SECONDS = 30.0


def data_root(root: str | Path | None) -> Path:
    """Return the folder of data sets: ``root``, or $LATENTBIT_DATA, or ~/.cache/latentbit/data."""
    if root:
        return Path(root).expanduser()
    return Path(os.environ.get("LATENTBIT_DATA") or "~/.cache/latentbit/data").expanduser()


def md5_of(path: Path) -> str:
    """Return the md5 of a file in hexadecimal: the digest that these data sets' authors publish."""
    digest = hashlib.md5(usedforsecurity=False)
    try:
        with path.open("rb") as file:
            while block := file.read(BLOCK):
                digest.update(block)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    return digest.hexdigest()


def verify(path: Path, md5: str) -> Path:
    """Return ``path`` if its md5 is the published one; else DataError."""
    found = md5_of(path)
    if found != md5:
        raise DataError(f"{path} is not the published file (md5 {found}, not {md5}): delete it and fetch it again")
    return path


def ensure(path: Path, url: str, md5: str) -> Path:
    """Return ``path``, downloaded from ``url`` first if it is missing, and verified.

    DataError without a network names the address and where to put the file by hand; StorageError names what the disk
    refuses.
    """
    if not path.exists():
        with working(f"download of {path.name}") as step, atomic_path(path) as part, part.open("wb") as file:
            for block in _download(url, path, step):
                file.write(block)
    return verify(path, md5)


def _download(url: str, path: Path, step: Step) -> Iterator[bytes]:
    """Yield what the network gives; an error of the disk, to which the caller writes, is none of this function."""
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as answer:
            total, done = int(answer.headers.get("Content-Length") or 0), 0
            while block := answer.read(BLOCK):
                done += len(block)
                step(done // BLOCK, total // BLOCK, "MiB")
                yield block
    except (OSError, http.client.HTTPException) as error:
        raise DataError(
            f"{path} is missing and {url} cannot be fetched ({error}): fetch it elsewhere and put it there, or set"
            " LATENTBIT_DATA to the folder that holds it"
        ) from error


def extract(archive: Path, folder: Path) -> None:
    """Unpack a tar archive into ``folder``; members that point outside are refused (PEP 706's data filter)."""
    try:
        with tarfile.open(archive) as tar:
            tar.extractall(folder, filter="data")
    except (tarfile.TarError, EOFError) as error:
        raise DataError(f"{archive} is not a whole archive ({error}): delete it and fetch it again") from error
    except OSError as error:
        raise StorageError(f"cannot unpack {archive} into {folder}: {error}") from error
