"""A bundle is data: nothing in it runs unasked, what it unpacks to is limited, and its manifest is read by type."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from latentbit.runtime.__main__ import main
from latentbit.runtime.errors import ConfigError, DataError, LatentbitError, MissingExtraError
from latentbit.runtime.machine.library import cpu_class, sealed
from latentbit.runtime.proof import signing
from latentbit.runtime.proof.bundle import MANIFEST, manifest_bytes, open_bundle
from latentbit.runtime.proof.device import check_bundle
from latentbit.runtime.proof.reference import load_reference
from latentbit.runtime.proof.signing import SIGNATURE, sign

BUNDLE = Path(__file__).resolve().parents[2] / "data" / "digits.zip"
QUICK = ("--oracle-samples", "2", "--latency-runs", "3")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.unpack_archive(BUNDLE, tmp_path / "bundle")
    return tmp_path / "bundle"


def rewrite(folder: Path, **changes: Any) -> None:
    """Write a manifest whose digests are right, as anybody can who alters a bundle."""
    entries = json.loads((folder / MANIFEST).read_bytes())
    del entries["sha256"]
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    files = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}
    entries["files"] = {name: digest for name, digest in files.items() if name not in (MANIFEST, SIGNATURE)}
    (folder / MANIFEST).write_bytes(manifest_bytes({**entries, **changes}))


@pytest.fixture
def marker(folder: Path, tmp_path: Path) -> Path:
    """Put a library into the bundle that writes this file as soon as it is loaded."""
    name, marker = cpu_class(), tmp_path / "the code of the bundle ran"
    if name is None or shutil.which("cc") is None:
        pytest.skip("needs a compiler for this CPU")
    code = '#include <stdio.h>\n__attribute__((constructor)) static void f(void) { fclose(fopen("%s", "w")); }\n'
    (tmp_path / "evil.c").write_text(code % marker)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", tmp_path / "evil.so", tmp_path / "evil.c"], check=True)
    (folder / "kernels").mkdir()
    (folder / "kernels" / f"{name}.so").write_bytes(sealed((tmp_path / "evil.so").read_bytes()))
    rewrite(folder)
    return marker


def checked(folder: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "latentbit.runtime", "check", str(folder), *QUICK, *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_code_of_a_bundle_does_not_run(folder: Path, marker: Path) -> None:
    done = checked(folder)
    assert (done.returncode, marker.exists()) == (0, False), done.stderr
    assert "were not used, for they are native code: --trust-kernels runs them" in done.stderr


def test_it_runs_where_the_user_says_so(folder: Path, marker: Path) -> None:
    done = checked(folder, "--trust-kernels")
    assert marker.exists()
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)  # it ran, and is no library of ours


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    """Return a private and a public key."""
    ed25519 = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ed25519")
    serialization = pytest.importorskip("cryptography.hazmat.primitives.serialization")
    key = ed25519.Ed25519PrivateKey.generate()
    private, public = tmp_path / "maker.pem", tmp_path / "maker.pub"
    pem, form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    private.write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )
    public.write_bytes(key.public_key().public_bytes(pem, form))
    return private, public


def signed(folder: Path, private: Path) -> None:
    (folder / SIGNATURE).write_bytes(sign((folder / MANIFEST).read_bytes(), private))


def test_a_signed_bundle_is_that_of_its_maker(folder: Path, keys: tuple[Path, Path]) -> None:
    private, public = keys
    with pytest.raises(DataError, match="is not signed; make it with"), open_bundle(folder, public_key=public):
        pass
    signed(folder, private)
    with open_bundle(folder, public_key=public) as bundle:
        assert bundle.signed
    with open_bundle(folder) as bundle:
        assert not bundle.signed, "nobody has looked at the signature"


def test_kernels_that_were_replaced_in_a_signed_bundle_do_not_run(
    folder: Path, marker: Path, keys: tuple[Path, Path]
) -> None:
    private, public = keys
    (library,) = (folder / "kernels").iterdir()
    evil = library.read_bytes()
    library.write_bytes(b"the maker's")
    rewrite(folder)
    signed(folder, private)
    library.write_bytes(evil)
    done = checked(folder, "--public-key", str(public))
    assert (done.returncode, marker.exists()) == (1, False)
    assert "was altered" in done.stderr
    rewrite(folder)
    done = checked(folder, "--public-key", str(public))
    assert (done.returncode, marker.exists()) == (1, False)
    assert "is not signed by the key in" in done.stderr


def test_a_signature_of_something_else_is_none(folder: Path, keys: tuple[Path, Path]) -> None:
    private, public = keys
    serialization = pytest.importorskip("cryptography.hazmat.primitives.serialization")
    key = serialization.load_pem_private_key(private.read_bytes(), password=None)
    for signature in (key.sign((folder / MANIFEST).read_bytes()), b"", bytes(64), bytes(65)):
        (folder / SIGNATURE).write_bytes(signature)
        with pytest.raises(DataError, match="is not signed by the key"), open_bundle(folder, public_key=public):
            pass


def test_what_is_no_key(folder: Path, keys: tuple[Path, Path], tmp_path: Path) -> None:
    private, public = keys
    (tmp_path / "text").write_bytes(b"words")
    for wrong in (public, tmp_path / "text"):
        with pytest.raises(ConfigError, match="holds no private Ed25519 key"):
            sign(b"", wrong)
    signed(folder, private)
    with pytest.raises(ConfigError, match="holds no public Ed25519 key"), open_bundle(folder, public_key=private):
        pass
    with pytest.raises(ConfigError, match="cannot read the key"), open_bundle(folder, public_key=tmp_path / "none"):
        pass


def test_without_the_extra_it_is_one_line(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(signing, "import_module", missing)
    with pytest.raises(MissingExtraError, match=r"latentbit\[sign\]"), open_bundle(folder, public_key="maker.pub"):
        pass


def test_a_plain_folder_is_not_signed(folder: Path) -> None:
    (folder / MANIFEST).unlink()
    with pytest.raises(DataError, match="is not signed"):
        check_bundle(folder, public_key="maker.pub")


def bomb(path: Path, names: list[str], size: int) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            with archive.open(name, "w") as file:
                for _ in range(size):
                    file.write(bytes(2**20))
    return path


@pytest.mark.parametrize(
    ("names", "size", "limits", "message"),
    [
        (["model.onnx"], 100, "", "the limit archive_ratio is 200"),
        (["model.onnx"], 3, "archive_bytes=1000000", "the limit archive_bytes is 1000000"),
        ([f"file{number}" for number in range(5000)], 0, "", "holds 5000 files, and the limit archive_files is 4096"),
    ],
)
def test_what_a_bundle_unpacks_to_is_limited(
    names: list[str], size: int, limits: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LATENTBIT_LIMITS", limits)
    with pytest.raises(DataError, match=message), open_bundle(bomb(tmp_path / "b.zip", names, size)):
        pass


def test_so_is_what_its_reference_unpacks_to(folder: Path) -> None:
    bomb(folder / "reference.npz", ["inputs.npy"], 100)
    rewrite(folder)
    with pytest.raises(DataError, match=r"reference\.npz unpacks to .* the limit archive_ratio"), open_bundle(folder):
        pass


def test_a_file_that_is_there_twice(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.writestr("model.onnx", b"one")
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("model.onnx", b"two")
    with pytest.raises(DataError, match="holds a file twice"), open_bundle(tmp_path / "b.zip"):
        pass


@pytest.mark.parametrize(
    "changes",
    [
        {"files": None},
        {"files": ["model.onnx"]},
        {"files": {"model.onnx": 7}},
        {"files": {"model.onnx": "short"}},
        {"files": {"\0": "0" * 64}},
        {"files": {"\ud800": "0" * 64}},
        {"files": {"n" * 5000: "0" * 64}},
        {"tolerances": None},
        {"tolerances": []},
        {"tolerances": {"latency_runs": "many"}},
        {"tolerances": {"latency_runs": True}},
        {"tolerances": {"latency_runs": 2.5}},
        {"tolerances": {"latency_runs": 10**12}},
        {"tolerances": {"oracle_samples": 10**400}},
        {"tolerances": {"max_logit_difference": None}},
        {"tolerances": {"max_flipped_share": 2}},
        {"run": [[[]]] * 500_000},
    ],
    ids=lambda changes: str(changes)[:40],
)
def test_a_manifest_is_read_by_type(changes: dict[str, Any], folder: Path) -> None:
    rewrite(folder, **changes)
    with pytest.raises(LatentbitError) as caught, open_bundle(folder):
        pass
    assert "\n" not in str(caught.value)


def test_a_manifest_that_is_nested_deeply(folder: Path) -> None:
    (folder / MANIFEST).write_bytes(b"[" * 100_000)
    with pytest.raises(DataError, match=r"manifest\.json was altered"), open_bundle(folder):
        pass


@pytest.mark.parametrize("seed", range(60))
def test_a_damaged_zip_is_one_line(seed: int, tmp_path: Path) -> None:
    data = bytearray(BUNDLE.read_bytes())
    for step in range(1 + seed % 4):
        data[(seed * 7919 + step * 104_729) % len(data) if seed % 2 else -1 - (seed * 31 + step * 17) % 900] ^= 1 + seed
    (tmp_path / "b.zip").write_bytes(data)
    assert main(["check", str(tmp_path / "b.zip"), *QUICK]) in (0, 1, 2)


@pytest.mark.parametrize("length", [2**33, 0, -8, 9])
def test_signs_of_another_length_than_there_are(length: int, tmp_path: Path) -> None:
    """``numpy.unpackbits`` makes any number of bits of one byte: a file of a kilobyte asked for 8 GiB."""
    path = tmp_path / "reference.npz"
    arrays: dict[str, Any] = {"inputs": np.zeros((1, 2)), "logits": np.zeros((1, 2)), "shape/a": np.array([length])}
    arrays["signs/a"] = np.zeros((1, 1), np.uint8)
    np.savez(path, **arrays)
    with pytest.raises(DataError, match="no signs of a, or others than its shape says"):
        load_reference(path)


def test_signs_that_unpack_to_more_than_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LATENTBIT_LIMITS", "archive_bytes=1000000")
    path = tmp_path / "reference.npz"
    arrays: dict[str, Any] = {"inputs": np.zeros((1, 2)), "logits": np.zeros((1, 2)), "shape/a": np.array([1_600_000])}
    arrays["signs/a"] = np.zeros((1, 200_000), np.uint8)
    np.savez(path, **arrays)
    with pytest.raises(DataError, match="unpack to 1600000 bytes, past the limit archive_bytes"):
        load_reference(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no pipes in folders")
def test_a_pipe_in_a_folder_is_not_waited_for(folder: Path, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.mkdir()
    shutil.copyfile(folder / "model.onnx", plain / "model.onnx")
    os.mkfifo(plain / "reference.npz")
    with pytest.raises(DataError, match="is no plain file"):
        check_bundle(plain)
    for name in ("model.onnx", "reference.npz", MANIFEST):
        (folder / name).unlink()
        os.mkfifo(folder / name)
        with pytest.raises(DataError, match=r"is missing|is no bundle"):
            check_bundle(folder)
