"""Data sets on disk: IDX, both CIFAR layouts, folders of images, downloads; altered and harmful files."""

import gzip
import hashlib
import io
import os
import pickle
import struct
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from latentbit.runtime.errors import ConfigError, DataError, StorageError
from latentbit.training.data import cifar, fetch
from latentbit.training.data.catalogue import load
from latentbit.training.data.cifar import CIFAR10, load_cifar, read_binary, read_python
from latentbit.training.data.idx import FASHION_MNIST, PARTS, load_idx, read_idx

RANDOM = np.random.default_rng(0)
REAL = os.environ.get("LATENTBIT_DATA", "")


def needs(folder: str) -> pytest.MarkDecorator:
    present = bool(REAL) and (Path(REAL) / folder).is_dir()
    return pytest.mark.skipif(not present, reason=f"LATENTBIT_DATA holds no {folder}")


def idx_bytes(array: np.ndarray[Any, Any]) -> bytes:
    return b"\0\0\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def write_idx_set(folder: Path) -> tuple[np.ndarray[Any, Any], ...]:
    folder.mkdir(parents=True)
    arrays = (
        RANDOM.integers(0, 256, (20, 28, 28), np.uint8),
        np.arange(20, dtype=np.uint8) % 10,
        RANDOM.integers(0, 256, (10, 28, 28), np.uint8),
        np.arange(10, dtype=np.uint8),
    )
    for part, array in zip(PARTS, arrays, strict=True):
        (folder / part).write_bytes(idx_bytes(array))
    return arrays


def test_unpacked_idx_files_are_read(tmp_path: Path) -> None:
    arrays = write_idx_set(tmp_path / "FashionMNIST" / "raw")
    found = load("fashion_mnist", tmp_path)
    assert np.array_equal(found.train_images[:, 0], arrays[0])
    assert np.array_equal(found.test_labels, arrays[3])
    assert found.classes[9] == "Ankle boot"
    assert found.train_images.shape[1:] == (1, 28, 28)
    assert found.train_images.flags.writeable  # torch warns of arrays that it could not write


def test_gzipped_idx_files_are_verified(tmp_path: Path) -> None:
    folder = tmp_path / "FashionMNIST" / "raw"
    write_idx_set(folder)
    digests = []
    for part in PARTS:
        packed = gzip.compress((folder / part).read_bytes())
        (folder / part).unlink()
        (folder / f"{part}.gz").write_bytes(packed)
        digests.append(hashlib.md5(packed).hexdigest())
    source = replace(FASHION_MNIST, md5=tuple(digests))  # type: ignore[arg-type]
    assert len(load_idx(source, tmp_path).train_labels) == 20
    with pytest.raises(DataError, match="is not the published file"):
        load_idx(FASHION_MNIST, tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not an IDX file"),
        (b"\0\0\x0d\x01\0\0\0\x01\0\0\0\0", "not an IDX file of bytes"),
        (idx_bytes(np.zeros((3, 2), np.uint8))[:-1], "is incomplete: 5 bytes for shape"),
    ],
)
def test_broken_idx_files_are_named(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "t10k-images-idx3-ubyte"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_idx(path)
    packed = tmp_path / "broken.gz"
    packed.write_bytes(gzip.compress(b"abc")[:-5])
    with pytest.raises(DataError, match="cannot be read"):
        read_idx(packed)


def small_cifar() -> cifar.CifarSet:
    unsigned = tuple((name, None) for name, _ in CIFAR10.binary_files)
    return replace(CIFAR10, binary_files=unsigned, python_files=tuple((n, None) for n, _ in CIFAR10.python_files))


def test_both_cifar_layouts_hold_the_same(tmp_path: Path) -> None:
    source = small_cifar()
    images, labels = RANDOM.integers(0, 256, (6, 4, 3072), np.uint8), RANDOM.integers(0, 10, (6, 4))
    binary, python = tmp_path / "a" / source.binary_folder, tmp_path / "b" / source.python_folder
    binary.mkdir(parents=True)
    python.mkdir(parents=True)
    for row, ((one, _), (other, _)) in enumerate(zip(source.binary_files, source.python_files, strict=True)):
        records = np.concatenate([labels[row, :, None].astype(np.uint8), images[row]], 1)
        (binary / one).write_bytes(records.tobytes())
        batch = {b"data": images[row], b"labels": labels[row].tolist(), b"batch_label": b"x"}
        (python / other).write_bytes(pickle.dumps(batch, protocol=2))
    first, second = load_cifar(source, tmp_path / "a"), load_cifar(source, tmp_path / "b")
    assert first.sha256 == second.sha256
    assert np.array_equal(first.train_images.reshape(5, 4, 3072), images[:5])
    assert np.array_equal(first.test_labels, labels[5])


def test_a_batch_that_names_a_function_is_not_executed(tmp_path: Path) -> None:
    class Harm:
        def __reduce__(self) -> tuple[Any, ...]:
            return (os.mkdir, (str(tmp_path / "harm"),))

    path = tmp_path / "data_batch_1"
    path.write_bytes(pickle.dumps({b"data": Harm(), b"labels": []}, protocol=2))
    with pytest.raises(DataError, match=r"is not a CIFAR batch \(it names posix.mkdir\)"):
        read_python(path, "labels")
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize(
    "batch",
    [{b"labels": [1]}, {b"data": np.zeros((2, 3072), np.uint8), b"labels": [1]}, {b"data": [1], b"labels": [1]}],
)
def test_a_batch_without_its_parts_is_named(batch: dict[bytes, Any], tmp_path: Path) -> None:
    path = tmp_path / "data_batch_1"
    path.write_bytes(pickle.dumps(batch, protocol=2))
    with pytest.raises(DataError, match="is not a CIFAR batch"):
        read_python(path, "labels")


def test_cifar100_records_carry_the_fine_label_second(tmp_path: Path) -> None:
    path = tmp_path / "train.bin"
    path.write_bytes(bytes([7, 93]) + bytes(3072))
    images, labels = read_binary(path, 2)
    assert labels.tolist() == [93]
    assert images.shape == (1, 3, 32, 32)
    path.write_bytes(bytes(100))
    with pytest.raises(DataError, match="no whole records of 3074"):
        read_binary(path, 2)


def test_an_altered_batch_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / CIFAR10.binary_folder
    folder.mkdir()
    (folder / "data_batch_1.bin").write_bytes(bytes(3073))
    with pytest.raises(DataError, match=r"data_batch_1.bin is not the published file"):
        load("cifar10", tmp_path)


def test_without_a_network_the_address_and_the_place_are_named(tmp_path: Path) -> None:
    missing = "http://127.0.0.1:9/none.gz"  # nothing listens on the discard port
    with pytest.raises(DataError, match=rf"a.gz is missing and {missing} cannot be fetched .* set LATENTBIT_DATA"):
        fetch.ensure(tmp_path / "a.gz", missing, "0" * 32)
    assert list(tmp_path.iterdir()) == []


def test_a_download_is_verified_and_unpacked(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        member = tarfile.TarInfo("folder/file")
        member.size = 3
        tar.addfile(member, io.BytesIO(b"abc"))
    source = tmp_path / "source.tar.gz"
    source.write_bytes(buffer.getvalue())
    md5 = hashlib.md5(buffer.getvalue()).hexdigest()
    path = fetch.ensure(tmp_path / "got" / "archive.tar.gz", source.as_uri(), md5)
    fetch.extract(path, tmp_path / "out")
    assert (tmp_path / "out" / "folder" / "file").read_bytes() == b"abc"
    with pytest.raises(DataError, match="is not the published file"):
        fetch.ensure(path, source.as_uri(), "0" * 32)
    path.write_bytes(buffer.getvalue()[:-30])
    with pytest.raises(DataError, match="is not a whole archive"):
        fetch.extract(path, tmp_path / "again")


def test_a_download_that_the_disk_refuses_is_no_fault_of_the_network(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"abc")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match=r"cannot write .*: a file of that name is in the way"):
        fetch.ensure(tmp_path / "file" / "data.gz", (tmp_path / "source").as_uri(), "0" * 32)


def test_decoded_images_that_cannot_be_kept_name_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("LATENTBIT_CACHE", str(tmp_path / "file"))
    for part in ("train", "val"):
        write_images(tmp_path / "set" / part, {"cat": 1})
    with pytest.raises(StorageError, match="LATENTBIT_CACHE names the folder"):
        load("folder:set", tmp_path, image_size=8)


def test_the_root_is_the_keyword_then_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LATENTBIT_DATA", str(tmp_path))
    assert fetch.data_root(None) == tmp_path
    assert fetch.data_root("/elsewhere") == Path("/elsewhere")
    monkeypatch.delenv("LATENTBIT_DATA")
    assert fetch.data_root("") == Path("~/.cache/latentbit/data").expanduser()


def write_images(folder: Path, classes: dict[str, int], size: tuple[int, int] = (40, 30)) -> None:
    from PIL import Image

    for name, count in classes.items():
        (folder / name).mkdir(parents=True)
        for number in range(count):
            pixels = RANDOM.integers(0, 256, (size[1], size[0], 3), np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")


def test_a_folder_of_images_is_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LATENTBIT_CACHE", str(tmp_path / "cache"))
    write_images(tmp_path / "set" / "train", {"cat": 3, "ant": 2})
    write_images(tmp_path / "set" / "val", {"cat": 1, "ant": 1})
    found = load("folder:set", tmp_path, image_size=14)
    assert found.classes == ("ant", "cat")
    assert found.train_labels.tolist() == [0, 0, 1, 1, 1]
    assert found.train_images.shape == (5, 3, 16, 16)
    assert found.test_images.shape == (2, 3, 14, 14)
    assert found.input_metadata()["height"] == 14
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "cache").iterdir()}
    assert load("folder:set", tmp_path, image_size=14).sha256 == found.sha256
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "cache").iterdir()} == before
    assert all(name.startswith("images-") and name.endswith(".npy") for name in before)


def test_a_folder_may_hold_pictures_of_16_bits_and_turned_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import Image

    monkeypatch.setenv("LATENTBIT_CACHE", str(tmp_path / "cache"))
    picture = RANDOM.integers(0, 256, (16, 16), np.uint8)
    for part in ("train", "val"):
        (tmp_path / "set" / part / "a").mkdir(parents=True)
        folder = tmp_path / "set" / part / "a"
        Image.fromarray(picture).save(folder / "0.png")
        Image.fromarray(picture.astype(np.uint16) * 257).save(folder / "1.png")
        turned = Image.fromarray(np.rot90(picture).copy())
        exif = turned.getexif()
        exif[0x0112] = 6
        turned.save(folder / "2.png", exif=exif)
    images = load("folder:set", tmp_path, image_size=14).train_images
    assert np.array_equal(images, np.broadcast_to(picture, (3, 3, 16, 16)))


def test_folders_that_cannot_be_read_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LATENTBIT_CACHE", str(tmp_path / "cache"))
    with pytest.raises(DataError, match=r"expected .*train/<class>/<image>"):
        load("folder:none", tmp_path)
    write_images(tmp_path / "set" / "train", {"cat": 1})
    write_images(tmp_path / "set" / "val", {"dog": 1})
    with pytest.raises(DataError, match="differ: cat, dog"):
        load("folder:set", tmp_path, image_size=8)
    (tmp_path / "set" / "val" / "dog").rename(tmp_path / "set" / "val" / "cat")
    (tmp_path / "set" / "train" / "cat" / "1.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"1\.png is no readable image"):
        load("folder:set", tmp_path, image_size=8)


def test_an_image_size_is_for_folders() -> None:
    with pytest.raises(ConfigError, match="digits has a size of its own"):
        load("digits", image_size=16)


@needs("FashionMNIST")
def test_the_real_fashion_mnist() -> None:
    found = load("fashion_mnist")
    assert (len(found.train_labels), len(found.test_labels)) == (60000, 10000)
    assert found.mean == pytest.approx([0.2860], abs=1e-4)


@needs("cifar-10-batches-bin")
def test_the_real_cifar10() -> None:
    found = load("cifar10")
    assert np.bincount(found.train_labels).tolist() == [5000] * 10
    assert found.mean == pytest.approx([0.4914, 0.4822, 0.4465], abs=1e-4)
    assert found.std == pytest.approx([0.2470, 0.2435, 0.2616], abs=1e-4)
