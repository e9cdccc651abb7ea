"""Altered files of every other kind, tried by ``python -m latentbit.tests.support.fuzz_files FIRST COUNT``.

A number says what is altered and how: a bundle, a reference, a run directory, a configuration, a checkpoint, an image,
the metadata of a model, a card of the zoo, a model for the importer. Either its bytes are changed, or a value in it is
replaced by another kind of value. A fault is every exception that is no LatentbitError of one line.
"""

import contextlib
import io
import json
import os
import shutil
import sys
import tempfile
import traceback
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from PIL import Image

from latentbit.export import convert, inspect
from latentbit.pipeline import config as configuration
from latentbit.pipeline.cli import main as pipeline
from latentbit.pipeline.rundir import RunDir
from latentbit.pipeline.sections import Config
from latentbit.pipeline.summary import check_rows, read_report
from latentbit.runtime import InferenceSession, zoo
from latentbit.runtime.classify import classify
from latentbit.runtime.errors import LatentbitError
from latentbit.runtime.intake.limits import Limits, current_limits
from latentbit.runtime.proof.bundle import MANIFEST, manifest_bytes
from latentbit.runtime.proof.device import check_bundle
from latentbit.runtime.proof.reference import load_reference
from latentbit.runtime.zoo.catalogue import read_card
from latentbit.training.loop.checkpoints import save_tensors
from latentbit.training.loop.loading import load_network
from latentbit.training.models.catalogue import build_model

from . import fuzz
from .altering import VALUES, Random, bytes_changed, changed, json_changed, pick
from .hunt import hunt, say

__all__ = ["KINDS"]

DATA = Path(__file__).resolve().parents[1] / "data"


def bundle(rng: Random, folder: Path) -> None:
    """A bundle whose manifest is altered and closed again, whose reference is altered, or whose bytes are."""
    path, source = folder / "bundle.zip", DATA / "digits.zip"
    if rng.random() < 0.25:
        path.write_bytes(bytes_changed(source.read_bytes(), rng))
    else:
        with zipfile.ZipFile(source) as archive:
            files = {name: archive.read(name) for name in archive.namelist()}
        entries = json.loads(files[MANIFEST])
        del entries["sha256"]
        with contextlib.suppress(ValueError):  # what is no JSON closes no manifest
            other = changed(entries, rng)
            files[MANIFEST] = manifest_bytes(other if isinstance(other, dict) else {"files": other})
        if rng.random() < 0.2:
            files[pick(rng, ("../up", "a/b/c", MANIFEST + "x", "kernels/x86-64-v4.so", "requirements.txt"))] = b"x"
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in files.items():
                archive.writestr(name, data)
    check_bundle(path, oracle_samples=1, latency_runs=1)


def reference(rng: Random, folder: Path) -> None:
    """A reference with an array of another shape or type, with the model it belongs to in a plain folder."""
    with zipfile.ZipFile(DATA / "digits.zip") as archive:
        (folder / "model.onnx").write_bytes(archive.read("model.onnx"))
        data = archive.read("reference.npz")
    path = folder / "reference.npz"
    if rng.random() < 0.3:
        path.write_bytes(bytes_changed(data, rng))
    else:
        arrays = dict(np.load(io.BytesIO(data)))
        name = pick(rng, list(arrays))
        array, choice = arrays.pop(name), int(rng.integers(8))
        others: tuple[Callable[[], Any], ...] = (
            lambda: array[:-1] if array.ndim else array, lambda: array.astype(np.complex64), lambda: array[None],
            lambda: np.array("text"), lambda: np.zeros((0, 3)), lambda: -np.abs(array.astype(np.int64)) - 1,
            lambda: np.full_like(array, np.nan) if array.dtype.kind == "f" else array * 0,
        )  # fmt: skip
        if choice < len(others):
            arrays[pick(rng, (name, name, "signs/" + name, "metric/a", "targets/b"))] = others[choice]()
        np.savez(path, **arrays)
    load_reference(path)
    check_bundle(folder, oracle_samples=1, latency_runs=1)


@cache
def _bundled() -> bytes:
    with zipfile.ZipFile(DATA / "digits.zip") as archive:
        return archive.read("model.onnx")


def metadata(rng: Random, folder: Path) -> None:
    """What a model says of itself, read by all that reads it."""
    model = onnx.load_from_string(zoo.path("digits").read_bytes())
    entry = pick(rng, model.metadata_props)
    known = {"latentbit.task": '{"metric": "m", "trained": {"a": 1.0}, "folded": {"a": 0.5}}'}
    if rng.random() < 0.2:
        entry.key, entry.value = pick(rng, list(known.items()))
    with contextlib.suppress(ValueError):
        entry.value = json_changed(entry.value, rng).decode()
    path, image = folder / "model.onnx", folder / "image.png"
    path.write_bytes(model.SerializeToString())
    Image.fromarray(rng.integers(0, 256, (9, 11), np.uint8)).save(image)
    session = InferenceSession(path)
    for read in (session.get_metrics, session.self_test, lambda: list(classify(session, [image]))):
        with contextlib.suppress(LatentbitError):
            read()
    shutil.copyfile(path, folder / "copy.onnx")
    check_bundle(_checked(folder, path), oracle_samples=1, latency_runs=1)


def _checked(folder: Path, model: Path) -> Path:
    place = folder / "checked"
    place.mkdir()
    shutil.copyfile(model, place / "model.onnx")
    with zipfile.ZipFile(DATA / "zoo" / "digits.zip") as archive:
        (place / "reference.npz").write_bytes(archive.read("reference.npz"))
    return place


def image(rng: Random, folder: Path) -> None:
    """An image file of a common format, its bytes altered."""
    form, mode = pick(rng, ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "ICO")), pick(rng, ("L", "RGB"))
    written = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (24, 20, 3), np.uint8)).convert(mode).save(written, form)
    path = folder / f"image.{form.lower()}"
    path.write_bytes(bytes_changed(written.getvalue(), rng))
    list(classify(_classifier(), [path]))


@cache
def _classifier() -> InferenceSession:
    return InferenceSession(zoo.path("digits"))


def array(rng: Random, folder: Path) -> None:
    """An array for ``run``, and limits in the environment."""
    from latentbit.runtime.__main__ import main

    written = io.BytesIO()
    np.save(written, rng.standard_normal((1, 1, 8, 8)).astype(np.float32))
    path = folder / "array.npy"
    path.write_bytes(bytes_changed(written.getvalue(), rng))
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        main(["run", str(zoo.path("digits")), str(path)])
    limits = ",".join(f"{name}={pick(rng, (1, 'x', '', -1, 2**80))}" for name in vars(Limits()))
    os.environ["LATENTBIT_LIMITS"] = bytes_changed(limits.encode(), rng).decode(errors="replace").replace("\0", "")
    try:
        current_limits()
    finally:
        del os.environ["LATENTBIT_LIMITS"]


def config(rng: Random, folder: Path) -> None:
    """A configuration file with other values, and an override on top of it."""
    source = pick(rng, sorted((Path(__file__).resolve().parents[2] / "configs").glob("*.toml")))
    lines, path = source.read_text(encoding="utf-8").splitlines(), folder / "config.toml"
    if rng.random() < 0.5:
        place = int(rng.integers(len(lines)))
        key = lines[place].partition("=")[0]
        lines[place] = f"{key} = {json.dumps(pick(rng, VALUES))}"
        path.write_text("\n".join(lines), encoding="utf-8")
    else:
        path.write_bytes(bytes_changed("\n".join(lines).encode(), rng))
    key = pick(rng, ("train.epochs", "train.model", "check.oracle_samples", "run.threads", "train", "", "a.b.c"))
    with contextlib.suppress(LatentbitError):
        configuration.read(None, [f"{key}={json.dumps(pick(rng, VALUES))}"])
    configuration.read(path)


def run_directory(rng: Random, folder: Path) -> None:
    """A run directory with another manifest or report, as ``pipeline show`` and ``pipeline bundle`` read it."""
    run = folder / "run"
    _run_directory(run)
    name = pick(rng, ("run.json", "run.json", "5-check/report.json"))
    (run / name).write_bytes(json_changed((run / name).read_bytes(), rng))
    for arguments in (["show", str(run)], ["bundle", str(run), "-o", str(folder / "out.zip")]):
        _command(arguments)
    found = read_report(RunDir.open(run))
    if found is not None:
        check_rows(found)


def _command(arguments: list[str]) -> None:
    quiet = contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO())
    with quiet[0], quiet[1], contextlib.suppress(SystemExit):
        pipeline(arguments)


@cache
def _report() -> str:
    found = check_bundle(DATA / "digits.zip", oracle_samples=1, latency_runs=1)
    return json.dumps(found.check.to_json())


def _run_directory(place: Path) -> None:
    for name in ("1-train", "2-fold", "3-export", "4-run", "5-check"):
        (place / name).mkdir(parents=True)
    shutil.copyfile(zoo.path("digits"), place / "3-export" / "model.onnx")
    (place / "5-check" / "report.json").write_text(_report(), encoding="utf-8")
    record = {"section": configuration.to_mapping(Config())["check"], "finished": True, "inputs": {}, "outputs": {}}
    stages = {name: record | {"seconds": 1.0} for name in ("train", "fold", "export", "run", "check")}
    manifest = {
        "format_version": 1,
        "config": configuration.to_mapping(Config()),
        "seeds": {"train": 0},
        "versions": {},
    }
    (place / "run.json").write_text(json.dumps(manifest | {"versions": {}, "stages": stages}), encoding="utf-8")


def checkpoint(rng: Random, folder: Path) -> None:
    """The files of a trained network."""
    record = {"model": "resnet8", "options": {"in_channels": 1, "num_classes": 10, "image_size": 28}}
    values = dict(build_model("resnet8", **record["options"]).state_dict())  # type: ignore[arg-type]
    (folder / "network.json").write_bytes(json.dumps(record).encode())
    choice, path = rng.random(), folder / "network.pt"
    if choice < 0.3:
        (folder / "network.json").write_bytes(json_changed(json.dumps(record), rng))
    elif choice < 0.6:
        name = pick(rng, list(values))
        values[pick(rng, (name, "new"))] = pick(rng, (*VALUES, torch.zeros(3), torch.zeros(0, dtype=torch.int8)))
    save_tensors(path, values)
    if choice > 0.6:
        path.write_bytes(bytes_changed(path.read_bytes(), rng))
    load_network(folder)


def card(rng: Random, folder: Path) -> None:
    """A card of the zoo."""
    path = folder / "card.json"
    path.write_bytes(json_changed((zoo.path("digits").with_suffix(".json")).read_bytes(), rng))
    read_card(path)


def imported(rng: Random, folder: Path) -> None:
    """An altered model for the importer."""
    path = folder / "model.onnx"
    path.write_bytes(fuzz.mutant(int(rng.integers(2**40))))
    with contextlib.suppress(LatentbitError):
        inspect(path)
    convert(path, folder / "out.onnx", inline=bool(rng.integers(2)))


KINDS = (bundle, reference, metadata, image, array, config, run_directory, checkpoint, card, imported)


def _try(number: int) -> str | None:
    kind = KINDS[number % len(KINDS)]
    say(number, "latentbit", kind.__name__)
    with tempfile.TemporaryDirectory() as folder:
        try:
            kind(np.random.default_rng(number), Path(folder))
        except LatentbitError as error:
            return f"{kind.__name__}: two lines: {error}" if "\n" in str(error) else None
        except Exception:
            return f"{kind.__name__}: is no LatentbitError: {traceback.format_exc()}"
    return None


if __name__ == "__main__":
    hunt(_try, *(int(argument) for argument in sys.argv[1:]))
