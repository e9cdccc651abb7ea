"""A bundle: all that a device needs to check a model, with the digest of every file verified before its use.

::

    manifest.json      what is in it: sha256 of every file, tolerances, digest of itself
    model.onnx         the packed model
    reference.npz      inputs, labels, logits and signs of the folded network
    kernels/CLASS.so   kernels compiled ahead of time for a class of CPU (optional)
    manifest.sig       signature of the manifest by its maker (optional, see :mod:`.signing`)
    requirements.txt   README.txt

A folder, or one ``.zip`` of it. It is data: nothing in it is a pickle, and nothing runs when it is unpacked. Kernels in
it are native code, so whoever opens it says whether to trust them. How much it unpacks to is limited.
"""

import errno
import hashlib
import json
import os
import re
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import DataError, StorageError, first_line
from ..files import parse_json, scratch_folder, sha256_file
from ..intake.archives import UNREADABLE, check_archive, check_npz, is_inside
from .signing import check_signature
from .tolerances import Tolerances

__all__ = ["BUNDLE_VERSION", "MANIFEST", "Bundle", "is_bundle", "manifest_bytes", "open_bundle"]

BUNDLE_VERSION = 1
MANIFEST = "manifest.json"
_REQUIRED = ("model.onnx", "reference.npz")
_MANIFEST_BYTES = 2**20
_DIGEST = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class Bundle:
    """A bundle whose digests are right: ``tolerances`` for ``check``, ``kernels`` maps a class of CPU to its library.

    ``signed`` says that its maker is known: it was opened with a public key, and the signature is of that.
    """

    folder: Path
    manifest: Mapping[str, Any]
    tolerances: Tolerances
    kernels: Mapping[str, Path] = field(default_factory=dict)
    signed: bool = False

    @property
    def model(self) -> Path:
        """Path of the model."""
        return self.folder / "model.onnx"

    @property
    def reference(self) -> Path:
        """Path of the reference."""
        return self.folder / "reference.npz"


def is_bundle(path: str | os.PathLike[str]) -> bool:
    """Return whether ``path`` looks like a bundle: a folder with a manifest, or a zip file."""
    return (Path(path) / MANIFEST).is_file() or (Path(path).suffix == ".zip" and Path(path).is_file())


@contextmanager
def open_bundle(path: str | os.PathLike[str], *, public_key: str | os.PathLike[str] | None = None) -> Iterator[Bundle]:
    """Yield the bundle at ``path`` after every digest has been verified; a zip is unpacked for as long as it is open.

    public_key: PEM file with the Ed25519 key that must have signed it; None: nobody knows who made it.

    Raises :class:`DataError` naming the first file that is missing, altered, or does not belong, for one that is not
    signed by the key, and for one that passes a limit (:mod:`..intake.limits`).
    """
    source = Path(path)
    if source.suffix != ".zip":
        yield _verified(source, source, public_key)
        return
    with scratch_folder("latentbit-bundle-") as scratch:
        _unpack(source, scratch)
        yield _verified(scratch, source, public_key)


def manifest_bytes(entries: Mapping[str, Any]) -> bytes:
    """Return a manifest in its one valid form, closed by the digest of itself."""
    digest = hashlib.sha256(_canonical(entries)).hexdigest()
    return _canonical({**entries, "sha256": digest})


def _canonical(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=True, allow_nan=False) + "\n").encode()


def _read_manifest(folder: Path, shown: Path) -> tuple[bytes, dict[str, Any]]:
    try:
        with (folder / MANIFEST).open("rb") as file:
            data = file.read(_MANIFEST_BYTES + 1)
    except OSError as error:
        raise DataError(
            f"{shown} is no bundle: cannot read {MANIFEST} ({error.strerror}); make one with pipeline bundle"
        ) from error
    try:
        value: Any = parse_json(data) if len(data) <= _MANIFEST_BYTES else None
        entries = {key: entry for key, entry in value.items() if key != "sha256"}
        intact = data == manifest_bytes(entries)
    except (ValueError, AttributeError):
        intact = False
    if not intact:
        raise DataError(f"{shown}/{MANIFEST} was altered: its digest does not fit; copy the bundle again")
    if value.get("format_version") != BUNDLE_VERSION:
        raise DataError(
            f"{shown} has bundle version {value.get('format_version')}, this latentbit reads {BUNDLE_VERSION}:"
            " make it again with pipeline bundle"
        )
    for key in ("files", "tolerances"):
        if not isinstance(entries.get(key), dict):
            raise DataError(f"{shown}/{MANIFEST} states no {key}: make the bundle again with pipeline bundle")
    return data, entries


def _verified(folder: Path, shown: Path, public_key: str | os.PathLike[str] | None) -> Bundle:
    data, manifest = _read_manifest(folder, shown)
    if public_key is not None:
        check_signature(folder, data, public_key, shown)
    files: dict[str, Any] = manifest["files"]
    for name, digest in files.items():
        if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
            raise DataError(f"{shown}/{MANIFEST} states no sha256 of {name}: make the bundle again")
        if (found := _digest_of(folder / name) if is_inside(name) else None) is None:
            raise DataError(f"{shown}/{name} is missing: copy the bundle again")
        if found != digest:
            raise DataError(
                f"{shown}/{name} was altered: its sha256 is not that of the manifest; copy the bundle again"
            )
    for name in _REQUIRED:
        if name not in files:
            raise DataError(f"{shown} has no {name}: make it again with pipeline bundle")
    check_npz(folder / "reference.npz")
    kernels = {Path(name).stem: folder / name for name in files if name.startswith("kernels/")}
    tolerances = Tolerances.from_json(manifest["tolerances"])
    return Bundle(folder, manifest, tolerances, kernels, signed=public_key is not None)


def _digest_of(path: Path) -> str | None:
    try:
        return sha256_file(path) if path.is_file() else None
    except OSError:  # a name that is too long, a file that may not be read
        return None


def _unpack(source: Path, target: Path) -> None:
    try:
        with zipfile.ZipFile(source) as archive:
            check_archive(archive, source)
            for name in archive.namelist():
                if not is_inside(name) or name.endswith("/"):
                    raise DataError(f"{source} holds {name!r}, which does not belong in a bundle")
            archive.extractall(target)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageError(
                f"cannot unpack {source} to {target.parent}: the disk is full; free some space, or set TMPDIR"
            ) from error
        raise DataError(f"cannot read the bundle {source}: {error.strerror or error}") from error
    except UNREADABLE as error:
        raise DataError(f"{source} is no whole zip file ({first_line(error)}): copy the bundle again") from error
