"""CIFAR-10 and CIFAR-100 in both layouts of their author, read without executing anything.

Looked for in this order below the data root: ``cifar-10-batches-bin`` / ``cifar-100-binary`` (records of label bytes
and 3,072 pixels), ``cifar-10-batches-py`` / ``cifar-100-python`` (pickles); else the python archive is downloaded.
A pickle can name any function to call, so these are read by an unpickler that knows NumPy's arrays and nothing else.
"""

import io
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...runtime.errors import DataError
from .dataset import Dataset, make_dataset
from .fetch import data_root, ensure, extract, verify

__all__ = ["CIFAR10", "CIFAR100", "CifarSet", "load_cifar"]

PIXELS = 3 * 32 * 32
Part = tuple[NDArray[np.uint8], NDArray[np.int64]]


@dataclass(frozen=True)
class CifarSet:
    """Where a CIFAR set lies: per layout the training files and the test file, with md5 where it is published."""

    name: str
    label: str
    label_bytes: int
    binary_folder: str
    binary_files: tuple[tuple[str, str | None], ...]
    python_folder: str
    python_files: tuple[tuple[str, str | None], ...]
    archive: str
    archive_md5: str
    classes: tuple[str, ...]


_ADDRESS = "https://www.cs.toronto.edu/~kriz/"

CIFAR10 = CifarSet(
    name="cifar10",
    label="labels",
    label_bytes=1,
    binary_folder="cifar-10-batches-bin",
    binary_files=(
        ("data_batch_1.bin", "5dd7e06a14cb22eb9f671a540d1b7c25"),
        ("data_batch_2.bin", "5ea93a67294ea407fff1d09f752e9692"),
        ("data_batch_3.bin", "942cd6a4bcdd0dd3c604fbe906cb4421"),
        ("data_batch_4.bin", "ae636b3ba5c66a11e91e8cb52e771fcb"),
        ("data_batch_5.bin", "53f37980c15c3d472c316c40844f3f0d"),
        ("test_batch.bin", "803d5f7f4d78ea53de84dbe85f74fb6d"),
    ),
    python_folder="cifar-10-batches-py",
    python_files=(
        ("data_batch_1", "c99cafc152244af753f735de768cd75f"),
        ("data_batch_2", "d4bba439e000b95fd0a9bffe97cbabec"),
        ("data_batch_3", "54ebc095f3ab1f0389bbae665268c751"),
        ("data_batch_4", "634d18415352ddfa80567beed471001a"),
        ("data_batch_5", "482c414d41f54cd18b22e5b47cb7c3cb"),
        ("test_batch", "40351d587109b95175f43aff81a1287e"),
    ),
    archive="cifar-10-python.tar.gz",
    archive_md5="c58f30108f718f92721af3b95e74349a",
    classes=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
)

CIFAR100 = CifarSet(
    name="cifar100",
    label="fine_labels",
    label_bytes=2,  # coarse, then fine
    binary_folder="cifar-100-binary",
    binary_files=(("train.bin", None), ("test.bin", None)),
    python_folder="cifar-100-python",
    python_files=(
        ("train", "16019d7e3df5f24257cddd939b257f8d"),
        ("test", "f0ef6b0ae62326f3e7ffdfab6717acfc"),
    ),
    archive="cifar-100-python.tar.gz",
    archive_md5="eb9058c3a382ffc7106e4002c42a8d85",
    classes=tuple(f"class {number}" for number in range(100)),
)


_ARRAY_PARTS: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
    ("numpy._core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
    ("_codecs", "encode"): lambda text, encoding: text.encode(encoding),
}


class _ArraysOnly(pickle.Unpickler):
    """An unpickler that knows what NumPy arrays are made of and refuses every other name."""

    def find_class(self, module: str, name: str) -> Any:
        """Return the named object if it belongs to an array."""
        try:
            return _ARRAY_PARTS[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it names {module}.{name}") from None


def read_python(path: Path, label: str) -> Part:
    """Read a batch of the python layout: images uint8 ``[N, 3, 32, 32]`` and labels; DataError for anything else."""
    try:
        batch = _ArraysOnly(io.BytesIO(path.read_bytes()), encoding="bytes").load()
        images, labels = batch[b"data"], np.asarray(batch[label.encode()], np.int64)
        if not isinstance(images, np.ndarray) or images.dtype != np.uint8 or images.shape != (len(labels), PIXELS):
            raise ValueError("its data is not uint8 [N, 3072]")
    except (
        OSError,
        EOFError,
        KeyError,
        IndexError,
        TypeError,
        ValueError,
        AttributeError,
        pickle.PickleError,
    ) as error:
        raise DataError(f"{path} is not a CIFAR batch ({error}): fetch it again") from error
    return images.reshape(-1, 3, 32, 32), labels


def read_binary(path: Path, label_bytes: int) -> Part:
    """Read a file of the binary layout; the last label byte counts (the fine label of CIFAR-100)."""
    try:
        raw = np.fromfile(path, np.uint8)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    record = label_bytes + PIXELS
    if not len(raw) or len(raw) % record:
        raise DataError(f"{path} is incomplete: {len(raw)} bytes are no whole records of {record}; fetch it again")
    rows = raw.reshape(-1, record)
    return rows[:, label_bytes:].reshape(-1, 3, 32, 32), rows[:, label_bytes - 1].astype(np.int64)


def load_cifar(source: CifarSet, root: Path | None) -> Dataset:
    """Load a CIFAR set from whichever layout is there, else download it."""
    base = data_root(root)
    if (base / source.binary_folder).is_dir():
        folder, files = base / source.binary_folder, source.binary_files
    else:
        folder, files = base / source.python_folder, source.python_files
        if not folder.is_dir():
            extract(ensure(base / source.archive, _ADDRESS + source.archive, source.archive_md5), base)
    parts = []
    for name, md5 in files:
        path = folder / name
        if md5 is not None:
            verify(path, md5)
        python = files is source.python_files
        parts.append(read_python(path, source.label) if python else read_binary(path, source.label_bytes))
    images, labels = (np.concatenate([part[i] for part in parts[:-1]]) for i in (0, 1))
    return make_dataset(source.name, (images, labels), parts[-1], classes=source.classes)
