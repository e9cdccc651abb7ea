"""``pipeline bundle``: what a device needs of a finished run, in one folder or zip file (runtime/proof/bundle.py)."""

import os
import re
import shutil
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from ..runtime.errors import InputError, StorageError
from ..runtime.files import atomic_path, make_folder, sha256_file, write_bytes
from ..runtime.proof.bundle import BUNDLE_VERSION, MANIFEST, manifest_bytes
from .paths import MODEL, REFERENCE
from .rundir import RunDir
from .sampling import stratified

__all__ = ["make_bundle"]

_README = """\
A bundle of latentbit {version}: {name}, {samples} reference images.

1. Python 3.11 or later on 64-bit Linux; in a fresh virtual environment: pip install -r requirements.txt
   (or install the wheel of latentbit {version}; no extra is needed: no torch). Kernels compiled ahead: {targets}.
2. python -m latentbit.runtime check .
   compares this device with the recorded answers: integers bit for bit, logits, accuracy. Exit code 0 is a pass.
   Kernels in the bundle are native code, which it runs with --trust-kernels, or with --public-key FILE if it is signed.
3. python -m latentbit.runtime info model.onnx     which kernel runs each layer, and why
4. python -m latentbit.runtime bench model.onnx    how long an image takes here

manifest.json holds the sha256 of every file; an altered file is refused by name. Nothing here runs when unpacked.
"""


def make_bundle(
    run: RunDir,
    output: Path,
    *,
    samples: int | None = None,
    targets: Sequence[str] = (),
    sign_key: Path | None = None,
) -> Path:
    """Write the bundle of a run whose stages up to export are complete, to a folder or, if it ends so, a ``.zip``.

    samples: reference images to take, the same share of every class; None: all, at most 1,000.
    targets: classes of CPU to compile kernels for, see :data:`latentbit.runtime.machine.library.CLASSES`.
    sign_key: PEM file with the private key to sign it with, see :mod:`latentbit.runtime.proof.signing`.
    Raises :class:`InputError` if the run has fewer samples, :class:`StorageError` if ``output`` is in the way.
    """
    if output.exists():
        raise StorageError(f"{output} exists: name another place with -o, or remove it")
    make_folder(output.parent)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=f".{output.stem}-") as scratch:
        folder = make_folder(Path(scratch) / "bundle")
        _fill(run, folder, samples, targets, sign_key)
        if output.suffix == ".zip":
            _zip(folder, output)
        else:
            _move(folder, output)
    return output


def _fill(run: RunDir, folder: Path, samples: int | None, targets: Sequence[str], sign_key: Path | None) -> None:
    shutil.copyfile(run.path / MODEL, folder / "model.onnx")
    if targets:
        from ..runtime.kernels.build import build_libraries

        build_libraries(folder / "kernels", targets)
    kept = _reference(run, folder / "reference.npz", samples)
    version = metadata.version("latentbit")
    requirements = [f"latentbit=={version}", *_base_requirements()]
    write_bytes(folder / "requirements.txt", ("\n".join(requirements) + "\n").encode())
    text = _README.format(version=version, name=run.path.name, samples=kept, targets=", ".join(targets) or "none")
    write_bytes(folder / "README.txt", text.encode())
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    entries = {
        "format_version": BUNDLE_VERSION,
        "latentbit": version,
        "run": run.path.name,
        "samples": kept,
        "targets": list(targets),
        "tolerances": asdict(run.config.check),
        "files": {name: sha256_file(folder / name) for name in names},
    }
    manifest = manifest_bytes(entries)
    write_bytes(folder / MANIFEST, manifest)
    if sign_key is not None:
        from ..runtime.proof.signing import SIGNATURE, sign

        write_bytes(folder / SIGNATURE, sign(manifest, sign_key))


def _reference(run: RunDir, target: Path, samples: int | None) -> int:
    """Write the sample of the run's reference; returns how many images it holds."""
    with np.load(run.path / REFERENCE, allow_pickle=False) as stored:
        labels = stored["labels"]
        if samples is None:
            samples = min(len(labels), 1000)
        if samples > len(labels):
            raise InputError(
                f"the run's reference holds {len(labels)} images, not {samples}: take fewer with --samples,"
                f" or record more with pipeline fold {run.path} -s fold.samples={samples}"
            )
        chosen = stratified(labels, samples)
        arrays = {name: stored[name] if name.startswith("shape/") else stored[name][chosen] for name in stored.files}
    with atomic_path(target) as part:
        values: dict[str, Any] = arrays
        np.savez_compressed(part, **values)
    return len(chosen)


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
