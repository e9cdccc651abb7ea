"""MNIST and Fashion-MNIST: the IDX files of their authors, gzipped or not, in ``<root>/<name>/raw``."""

import gzip
import math
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...runtime.errors import DataError
from .dataset import Dataset, make_dataset
from .fetch import data_root, ensure

__all__ = ["FASHION_MNIST", "MNIST", "load_idx", "read_idx"]

PARTS = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


@dataclass(frozen=True)
class IdxSet:
    """Where a set of four IDX files lies, and the published md5 of each gzipped file in the order of PARTS."""

    name: str
    folder: str
    address: str
    md5: tuple[str, str, str, str]
    classes: tuple[str, ...]


MNIST = IdxSet(
    "mnist",
    "MNIST",
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    (
        "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "d53e105ee54ea40749a09fcbcd1e9432",
        "9fb629c4189551a2d022fa330f9573f3",
        "ec29112dd5afa0611ce80d1b7f02629c",
    ),
    tuple("0123456789"),
)

FASHION_MNIST = IdxSet(
    "fashion_mnist",
    "FashionMNIST",
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    (
        "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "25c81989df183df01b3e8a0aad5dffbe",
        "bef4ecab320f06d8554ea6380940ec79",
        "bb300cfdad3c16e7a12a480ee83cd310",
    ),
    ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)


def read_idx(path: Path) -> NDArray[np.uint8]:
    """Read an IDX file of unsigned bytes, gzipped if its name ends in .gz; DataError if it is not whole."""
    try:
        raw = path.read_bytes()
        if path.suffix == ".gz":
            raw = gzip.decompress(raw)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read ({error}): fetch it again") from error
    # Two zero bytes, 8 for uint8, the number of axes; then each axis as a big-endian uint32.
    if len(raw) < 4 or raw[:3] != b"\0\0\x08" or len(raw) < 4 + 4 * raw[3]:
        raise DataError(f"{path} is not an IDX file of bytes: fetch it again")
    shape: tuple[Any, ...] = struct.unpack_from(f">{raw[3]}I", raw, 4)
    start = 4 + 4 * raw[3]
    if len(raw) != start + math.prod(shape):
        raise DataError(f"{path} is incomplete: {len(raw) - start} bytes for shape {shape}; fetch it again")
    return np.frombuffer(raw, np.uint8, offset=start).reshape(shape)


def load_idx(source: IdxSet, root: Path | None) -> Dataset:
    """Load the four files; missing ones are downloaded, gzipped ones verified by md5."""
    folder = data_root(root) / source.folder / "raw"
    arrays = []
    for part, md5 in zip(PARTS, source.md5, strict=True):
        plain = folder / part
        arrays.append(
            read_idx(plain if plain.exists() else ensure(folder / f"{part}.gz", f"{source.address}{part}.gz", md5))
        )
    images, labels, test_images, test_labels = arrays
    if len(images) != len(labels) or len(test_images) != len(test_labels):
        raise DataError(f"images and labels in {folder} differ in number: fetch them again")
    return make_dataset(
        source.name, (images[:, None], labels), (test_images[:, None], test_labels), classes=source.classes
    )
