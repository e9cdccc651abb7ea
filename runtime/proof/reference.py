"""The reference file: what the folded network answered, recorded once, for every deployment to be compared with."""

from dataclasses import dataclass
from os import PathLike, fspath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..bits import unpack_signs
from ..errors import DataError
from ..files import sha256_file

__all__ = ["Reference", "load_reference"]


@dataclass(frozen=True)
class Reference:
    """Recorded answers of the folded network.

    ``inputs`` ``[S, …]`` as the model takes them, ``labels`` int64 ``[S]``, ``logits`` float32 ``[S, classes]``;
    ``signs`` maps a binary layer to what it read, int8 ±1 ``[S, …]``; ``sha256`` is the digest of the file.
    """

    inputs: NDArray[Any]
    labels: NDArray[np.int64]
    logits: NDArray[np.float32]
    signs: dict[str, NDArray[np.int8]]
    sha256: str


def load_reference(path: str | PathLike[str]) -> Reference:
    """Read a reference file (npz, no pickles). Raises DataError where it is missing, corrupt or incomplete."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
        digest = sha256_file(path)
    except FileNotFoundError:
        raise DataError(f"there is no reference file {fspath(path)}; record it with the stage fold") from None
    except Exception as error:
        raise DataError(f"{fspath(path)} is no reference file, or it is corrupt ({error}); copy it again") from None
    for name in ("inputs", "labels", "logits"):
        if name not in arrays:
            raise DataError(f"reference {fspath(path)} holds no array {name!r}; record it again with the stage fold")
    samples = len(arrays["inputs"])
    if not samples or any(len(arrays[name]) != samples for name in ("labels", "logits")):
        raise DataError(f"reference {fspath(path)}: inputs, labels and logits differ in length; record it again")
    signs = {}
    for name, packed in arrays.items():
        if name.startswith("signs/"):
            layer = name.removeprefix("signs/")
            if f"shape/{layer}" not in arrays:
                raise DataError(f"reference {fspath(path)} holds signs but no shape of {layer}; record it again")
            signs[layer] = unpack_signs(packed, int(arrays[f"shape/{layer}"][0]), axis=1)
    return Reference(arrays["inputs"], arrays["labels"], arrays["logits"], signs, digest)
