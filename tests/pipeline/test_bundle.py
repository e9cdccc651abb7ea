"""``pipeline bundle``: what is in it, and that the device's side accepts it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from latentbit.pipeline.bundle import make_bundle
from latentbit.pipeline.rundir import RunDir
from latentbit.pipeline.sampling import stratified
from latentbit.runtime.errors import InputError, StorageError
from latentbit.runtime.files import sha256_file
from latentbit.runtime.machine.library import cpu_class
from latentbit.runtime.proof.bundle import open_bundle

from .conftest import pipeline


def test_a_sample_holds_every_class_in_its_share() -> None:
    labels = np.random.default_rng(0).choice(4, 400, p=[0.1, 0.2, 0.3, 0.4])
    for count in (1, 7, 40, 399, 400):
        chosen = stratified(labels, count)
        assert len(set(chosen)) == count
        for label in range(4):
            exact = count * np.mean(labels == label)
            assert abs(np.sum(labels[chosen] == label) - exact) <= 1
    assert np.array_equal(stratified(labels, 40), stratified(labels, 40))


def test_folder_and_zip_hold_the_same_and_are_repeatable(finished: Path, tmp_path: Path) -> None:
    run = RunDir.open(finished)
    folder = make_bundle(run, tmp_path / "a", samples=50)
    archives = [make_bundle(run, tmp_path / f"{name}.zip", samples=50) for name in "bc"]
    assert sha256_file(archives[0]) == sha256_file(archives[1])
    with open_bundle(folder) as left, open_bundle(archives[0]) as right:
        assert left.manifest == right.manifest
        assert left.manifest["samples"] == 50
    names = {path.name for path in folder.iterdir()}
    assert names == {"manifest.json", "model.onnx", "reference.npz", "requirements.txt", "README.txt"}
    assert len((folder / "README.txt").read_text().splitlines()) <= 12
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_the_sample_is_a_part_of_the_reference(finished: Path, tmp_path: Path) -> None:
    folder = make_bundle(RunDir.open(finished), tmp_path / "a", samples=50)
    with np.load(folder / "reference.npz") as part, np.load(finished / "2-fold/reference.npz") as whole:
        assert set(part.files) == set(whole.files)
        chosen = stratified(whole["labels"], 50)
        for name in part.files:
            expected = whole[name] if name.startswith("shape/") else whole[name][chosen]
            np.testing.assert_array_equal(part[name], expected)


def test_requirements_are_those_of_a_device(finished: Path, tmp_path: Path) -> None:
    folder = make_bundle(RunDir.open(finished), tmp_path / "a", samples=10)
    text = (folder / "requirements.txt").read_text()
    assert text.startswith("latentbit==")
    assert "onnxruntime" in text
    assert not any(name in text for name in ("torch", "click", "onnxscript"))


def test_refusals(finished: Path, tmp_path: Path) -> None:
    run = RunDir.open(finished)
    with pytest.raises(InputError, match="holds 539 images, not 5000: take fewer"):
        make_bundle(run, tmp_path / "a", samples=5000)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "b").mkdir()
    with pytest.raises(StorageError, match="exists: name another place"):
        make_bundle(run, tmp_path / "b", samples=5)
    done = pipeline("bundle", str(tmp_path / "none"), "-o", str(tmp_path / "c"))
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "stage train" in done.stderr


def test_the_command_makes_a_bundle_that_passes_its_check(finished: Path, tmp_path: Path) -> None:
    done = pipeline("bundle", str(finished), "-o", str(tmp_path / "a.zip"), "--samples", "60")
    assert done.returncode == 0, done.stderr
    report = check(tmp_path / "a.zip")
    assert (report["passed"], report["samples"], report["kernel_library"]) == (True, 60, None)


def check(bundle: Path, *options: str) -> dict[str, Any]:
    """Check a bundle in a process of its own and return the report."""
    command = [sys.executable, "-m", "latentbit.runtime", "check", str(bundle), "--json", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def test_a_bundle_with_kernels_is_checked_without_numba(finished: Path, tmp_path: Path) -> None:
    name = cpu_class()
    if name is None or shutil.which("cc") is None:
        pytest.skip("needs a linker for this CPU")
    done = pipeline("bundle", str(finished), "-o", str(tmp_path / "a.zip"), "--samples", "20", "--target", name)
    assert done.returncode == 0, done.stderr
    report = check(tmp_path / "a.zip", "--trust-kernels")
    assert (report["passed"], report["kernel_library"], report["jit"]) == (True, name, False)
    assert report["unused_kernels"] is None
    assert report["bundle"]["targets"] == [name]


def test_a_signed_bundle_is_checked_with_the_public_key(finished: Path, tmp_path: Path) -> None:
    ed25519 = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ed25519")
    serialization = pytest.importorskip("cryptography.hazmat.primitives.serialization")
    key, pem = ed25519.Ed25519PrivateKey.generate(), serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (tmp_path / "maker.pem").write_bytes(private)
    public = key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "maker.pub").write_bytes(public)
    made = ("-o", str(tmp_path / "a.zip"), "--samples", "20", "--sign-key", str(tmp_path / "maker.pem"))
    done = pipeline("bundle", str(finished), *made)
    assert done.returncode == 0, done.stderr
    assert check(tmp_path / "a.zip", "--public-key", str(tmp_path / "maker.pub"))["passed"] is True


def test_an_unknown_target_leaves_nothing_behind(finished: Path, tmp_path: Path) -> None:
    done = pipeline("bundle", str(finished), "-o", str(tmp_path / "a"), "--target", "z80")
    assert done.returncode == 2
    assert "no class of CPU 'z80'" in done.stderr
    assert list(tmp_path.iterdir()) == []
