"""A bundle: all that a device needs to check a model, with the digest of every file verified before its use.

::

    manifest.json      what is in it: sha256 of every file, tolerances, digest of itself
    model.onnx         the packed model
    reference.npz      inputs, labels, logits and signs of the folded network
    kernels/CLASS.so   kernels compiled ahead of time for a class of CPU (optional)
    requirements.txt   README.txt

A folder, or one ``.zip`` of it. Nothing in it is a pickle, and nothing runs when it is unpacked.
"""

import hashlib
import json
import os
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import DataError
from ..files import sha256_file
from .tolerances import Tolerances

__all__ = ["BUNDLE_VERSION", "MANIFEST", "Bundle", "is_bundle", "manifest_bytes", "open_bundle"]

BUNDLE_VERSION = 1
MANIFEST = "manifest.json"
_REQUIRED = ("model.onnx", "reference.npz")


@dataclass(frozen=True)
class Bundle:
    """A verified bundle: ``tolerances`` for ``check``, ``kernels`` maps a class of CPU to its library."""

    folder: Path
    manifest: Mapping[str, Any]
    tolerances: Tolerances
    kernels: Mapping[str, Path] = field(default_factory=dict)

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
def open_bundle(path: str | os.PathLike[str]) -> Iterator[Bundle]:
    """Yield the bundle at ``path`` after every digest has been verified; a zip is unpacked for as long as it is open.

    Raises :class:`DataError` naming the first file that is missing, altered, or does not belong.
    """
    source = Path(path)
    if source.suffix != ".zip":
        yield _verified(source)
        return
    with tempfile.TemporaryDirectory(prefix="latentbit-bundle-") as scratch:
        _unpack(source, Path(scratch))
        yield _verified(Path(scratch), shown=source)


def manifest_bytes(entries: Mapping[str, Any]) -> bytes:
    """Return a manifest in its one valid form, closed by the digest of itself."""
    digest = hashlib.sha256(_canonical(entries)).hexdigest()
    return _canonical({**entries, "sha256": digest})


def _canonical(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=True, allow_nan=False) + "\n").encode()


def _read_manifest(folder: Path, shown: Path) -> dict[str, Any]:
    try:
        data = (folder / MANIFEST).read_bytes()
    except OSError as error:
        raise DataError(
            f"{shown} is no bundle: cannot read {MANIFEST} ({error.strerror}); make one with pipeline bundle"
        ) from error
    try:
        value = json.loads(data)
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
    return entries


def _verified(folder: Path, shown: Path | None = None) -> Bundle:
    shown = shown or folder
    manifest = _read_manifest(folder, shown)
    files: dict[str, str] = manifest["files"]
    for name, digest in files.items():
        path = folder / name
        if not _inside(name) or not path.is_file():
            raise DataError(f"{shown}/{name} is missing: copy the bundle again")
        if sha256_file(path) != digest:
            raise DataError(
                f"{shown}/{name} was altered: its sha256 is not that of the manifest; copy the bundle again"
            )
    for name in _REQUIRED:
        if name not in files:
            raise DataError(f"{shown} has no {name}: make it again with pipeline bundle")
    kernels = {Path(name).stem: folder / name for name in files if name.startswith("kernels/")}
    return Bundle(folder, manifest, Tolerances.from_json(manifest["tolerances"]), kernels)


def _inside(name: str) -> bool:
    return not name.startswith("/") and ".." not in Path(name).parts


def _unpack(source: Path, target: Path) -> None:
    try:
        with zipfile.ZipFile(source) as archive:
            for name in archive.namelist():
                if not _inside(name) or name.endswith("/"):
                    raise DataError(f"{source} holds {name!r}, which does not belong in a bundle")
            archive.extractall(target)
    except OSError as error:
        raise DataError(f"cannot read the bundle {source}: {error.strerror or error}") from error
    except (zipfile.BadZipFile, EOFError, RuntimeError, NotImplementedError) as error:
        raise DataError(f"{source} is no whole zip file ({error}): copy the bundle again") from error
