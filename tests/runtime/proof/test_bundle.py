"""A bundle is verified before anything in it is used: every byte counts, and the altered file is named."""

import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from latentbit.runtime.errors import DataError
from latentbit.runtime.proof.bundle import BUNDLE_VERSION, MANIFEST, is_bundle, manifest_bytes, open_bundle

FILES = {"model.onnx": b"model", "reference.npz": b"reference", "kernels/aarch64.so": b"code", "README.txt": b"text\n"}


def entries(**changes: Any) -> dict[str, Any]:
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in FILES.items()}
    return {"format_version": BUNDLE_VERSION, "tolerances": {"oracle_samples": 4}, "files": digests, **changes}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    bundle = tmp_path / "bundle"
    for name, data in FILES.items():
        (bundle / name).parent.mkdir(parents=True, exist_ok=True)
        (bundle / name).write_bytes(data)
    (bundle / MANIFEST).write_bytes(manifest_bytes(entries()))
    return bundle


def zipped(folder: Path) -> Path:
    archive = folder.with_suffix(".zip")
    with zipfile.ZipFile(archive, "w") as file:
        for path in folder.rglob("*"):
            if path.is_file():
                file.write(path, path.relative_to(folder).as_posix())
    return archive


def test_folder_and_zip_open_to_the_same(folder: Path) -> None:
    archive = zipped(folder)
    for source in (folder, archive):
        assert is_bundle(source)
        with open_bundle(source) as bundle:
            assert bundle.model.read_bytes() == b"model"
            assert bundle.reference.read_bytes() == b"reference"
            assert bundle.tolerances == {"oracle_samples": 4}
            assert {name: path.read_bytes() for name, path in bundle.kernels.items()} == {"aarch64": b"code"}
            unpacked = bundle.folder
    assert not unpacked.exists(), "an unpacked zip is removed again"
    assert not is_bundle(folder / "kernels")


@pytest.mark.parametrize("name", [*FILES, MANIFEST])
def test_any_changed_byte_is_refused_by_name(folder: Path, name: str) -> None:
    original = (folder / name).read_bytes()
    for position in {0, len(original) // 2, len(original) - 1}:
        for changed in (original[position] ^ 1, ord(" ")):
            data = bytearray(original)
            if data[position] == changed:
                continue
            data[position] = changed
            (folder / name).write_bytes(data)
            for source in (folder, zipped(folder)):
                with pytest.raises(DataError, match=f"{name} was altered"), open_bundle(source):
                    pass


def test_a_manifest_in_another_form_is_refused(folder: Path) -> None:
    value = json.loads((folder / MANIFEST).read_bytes())
    for data in (json.dumps(value).encode(), b"", b"[]", b"\xff", (folder / MANIFEST).read_bytes() + b"\n"):
        (folder / MANIFEST).write_bytes(data)
        with pytest.raises(DataError, match=r"manifest\.json was altered"), open_bundle(folder):
            pass


@pytest.mark.parametrize("name", list(FILES))
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(DataError, match=f"{name} is missing"), open_bundle(folder):
        pass


def test_other_versions_and_other_folders(folder: Path, tmp_path: Path) -> None:
    (folder / MANIFEST).write_bytes(manifest_bytes(entries(format_version=9)))
    with pytest.raises(DataError, match="bundle version 9"), open_bundle(folder):
        pass
    with pytest.raises(DataError, match="is no bundle"), open_bundle(tmp_path):
        pass
    with pytest.raises(DataError, match="cannot read the bundle"), open_bundle(tmp_path / "none.zip"):
        pass


def test_a_bundle_without_a_model_is_refused(folder: Path) -> None:
    (folder / MANIFEST).write_bytes(manifest_bytes(entries(files={})))
    with pytest.raises(DataError, match=r"has no model\.onnx"), open_bundle(folder):
        pass


@pytest.mark.parametrize("name", ["../outside", "/etc/outside", "a/../../outside"])
def test_nothing_reaches_out_of_the_bundle(folder: Path, tmp_path: Path, name: str) -> None:
    digest = hashlib.sha256(b"x").hexdigest()
    (tmp_path / "outside").write_bytes(b"x")
    (folder / MANIFEST).write_bytes(manifest_bytes(entries(files={name: digest})))
    with pytest.raises(DataError, match="outside"), open_bundle(folder):
        pass
    archive = tmp_path / "evil.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr(name, b"x")
    with pytest.raises(DataError, match="does not belong"), open_bundle(archive):
        pass


@pytest.mark.parametrize("cut", [0, 10, -30])
def test_a_cut_zip_is_refused(folder: Path, cut: int) -> None:
    archive = zipped(folder)
    archive.write_bytes(archive.read_bytes()[:cut])
    with pytest.raises(DataError, match="no whole zip file"), open_bundle(archive):
        pass
