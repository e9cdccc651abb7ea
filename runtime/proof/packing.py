"""Making a bundle (:mod:`.bundle`): a model, its reference, and kernels, in one folder or zip file."""

import os
import re
import shutil
import zipfile
from collections.abc import Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path

from ..errors import ModelError, StorageError
from ..files import atomic_path, make_folder, scratch_folder, sha256_file, write_bytes
from ..terminal import Step, no_progress
from .bundle import BUNDLE_VERSION, MANIFEST, manifest_bytes
from .reference import Reference, load_reference, save_reference
from .signing import SIGNATURE, sign
from .tolerances import Tolerances

__all__ = ["make_bundle"]

_README = """\
A bundle of latentbit {version}: {name}, {samples} reference images.

1. Python 3.11 or later on 64-bit Linux; in a fresh virtual environment: pip install -r requirements.txt
   (or install the wheel of latentbit {version}; no extra is needed: no torch). Kernels compiled ahead: {targets}.
2. latentbit check .
   compares this device with the recorded answers: integers bit for bit, outputs, accuracy. Exit code 0 is a pass.
   Kernels in the bundle are native code, which it runs with --trust-kernels, or with --public-key FILE if it is signed.
3. latentbit info model.onnx     which kernel runs each layer, and why
4. latentbit bench model.onnx    how long an image takes here

manifest.json holds the sha256 of every file; an altered file is refused by name. Nothing here runs when unpacked.
"""


def make_bundle(
    model: str | os.PathLike[str],
    reference: str | os.PathLike[str] | Reference,
    output: str | os.PathLike[str],
    *,
    tolerances: Tolerances | None = None,
    targets: Sequence[str] = (),
    name: str = "",
    sign_key: str | os.PathLike[str] | None = None,
    progress: Step = no_progress,
) -> Path:
    """Write what a device needs to check a model to a folder or, if ``output`` ends so, a ``.zip``; return its path.

    model: path of the ``.onnx`` file.
    reference: path of its reference file, or arrays: :meth:`.Reference.of`.
    tolerances: those that the device's check holds by default; None: the defaults.
    targets: classes of CPU to compile kernels for, see :data:`latentbit.runtime.machine.library.CLASSES`.
    name: what the bundle is called in its README; the model's name without it.
    sign_key: PEM file with the private key to sign it with, see :mod:`.signing`.
    progress: told which kernels are compiled, ``progress(done, total, message)``.

    Raises :class:`ModelError` where there is no model, :class:`DataError` for a reference that is none,
    :class:`StorageError` if ``output`` is in the way or cannot be written.
    """
    source, place = Path(model), Path(output)
    recorded = reference if isinstance(reference, Reference) else load_reference(reference)
    if not source.is_file():
        raise ModelError(f"there is no model {source}: export one first")
    if place.exists():
        raise StorageError(f"{place} exists: name another place with -o, or remove it")
    make_folder(place.parent)
    with scratch_folder(f".{place.stem}-", place.parent) as scratch:
        folder = make_folder(scratch / "bundle")
        with atomic_path(folder / "model.onnx") as part:
            shutil.copyfile(source, part)
        save_reference(recorded, folder / "reference.npz")
        if targets:
            from ..kernels.build import build_libraries

            build_libraries(folder / "kernels", targets, progress=progress)
        manifest = _fill(folder, tolerances or Tolerances(), targets, name or source.stem, len(recorded.inputs))
        if sign_key is not None:
            write_bytes(folder / SIGNATURE, sign(manifest, Path(sign_key)))
        if place.suffix == ".zip":
            _zip(folder, place)
        else:
            _move(folder, place)
    return place


def _fill(folder: Path, tolerances: Tolerances, targets: Sequence[str], name: str, samples: int) -> bytes:
    """Add requirements and README; close the folder with its manifest and return that."""
    version = metadata.version("latentbit")
    requirements = [f"latentbit=={version}", *_base_requirements()]
    write_bytes(folder / "requirements.txt", ("\n".join(requirements) + "\n").encode())
    text = _README.format(version=version, name=name, samples=samples, targets=", ".join(targets) or "none")
    write_bytes(folder / "README.txt", text.encode())
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    entries = {
        "format_version": BUNDLE_VERSION,
        "latentbit": version,
        "run": name,
        "samples": samples,
        "targets": list(targets),
        "tolerances": asdict(tolerances),
        "files": {each: sha256_file(folder / each) for each in names},
    }
    manifest = manifest_bytes(entries)
    write_bytes(folder / MANIFEST, manifest)
    return manifest


def _base_requirements() -> list[str]:
    declared = metadata.requires("latentbit") or []
    return sorted(line for line in declared if not re.search(r";.*extra\s*==", line))


def _zip(folder: Path, output: Path) -> None:
    with atomic_path(output) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            entry = zipfile.ZipInfo(path.relative_to(folder).as_posix())  # its date is fixed: equal input, equal file
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, path.read_bytes())


def _move(folder: Path, output: Path) -> None:
    try:
        os.rename(folder, output)
    except OSError as error:
        raise StorageError(f"cannot write {output}: {error.strerror}") from error
