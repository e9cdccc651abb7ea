"""A step: one call of a kernel, with the descriptor that tells it everything by address."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError
from ..kernels.entry import entry_address

__all__ = ["NAN_IN_POOL", "Bound", "Step", "descriptor", "image_stride", "pixel_stride"]

NAN_IN_POOL = (
    "a max-pool reads NaN, of which engines make different maxima; "
    "feed smaller values, or look for weights that are no numbers"
)
"""What is said of a NaN in a max-pool of floats: :attr:`Step.nan`."""


@dataclass(frozen=True, eq=False)
class Step:
    """One call of a kernel on an image.

    ``words`` are its descriptor, int64. ``work`` is how much there is to do on an image; what is counted is said of
    each kernel in layout/words.py. ``keep`` holds what the descriptor points to. Where the step reads an array that the
    caller feeds, ``fed`` is the word for its address, and its name. Where a NaN in what the step reads leaves no
    answer, ``nan`` is the word that the kernel then sets, and what is said of it.
    """

    name: str
    call: Callable[[int, int, int, int], None]
    words: NDArray[np.int64]
    work: int
    keep: Sequence[Any]
    fed: tuple[int, str] | None = None
    nan: tuple[int, str] | None = None

    @property
    def address(self) -> int:
        """Address of the kernel."""
        return entry_address(self.call)

    def run(self, image: int) -> None:
        """Do the step on one image."""
        self.call(self.words.ctypes.data, image, 0, self.work)


@dataclass(frozen=True)
class Bound:
    """The steps of a part, in order, and the number of images in the batch that they run on."""

    steps: Sequence[Step]
    batch: int


def descriptor(kind: type[IntEnum], values: Mapping[Any, int | NDArray[Any] | None]) -> NDArray[np.int64]:
    """Return the words of a descriptor; ``kind`` lists them and their number (``SIZE``).

    An array stands for its address; the step has to keep it. None stands for 0, as does a word that is not given.
    """
    words = np.zeros(kind["SIZE"], np.int64)
    for word, value in values.items():
        if value is not None:
            try:
                words[word] = value.ctypes.data if isinstance(value, np.ndarray) else value
            except OverflowError:
                raise ModelError(f"a layer has a size or an offset of {value}, past 64 bits; export it again") from None
    return words


def image_stride(buffer: NDArray[Any] | None) -> int:
    """Return the bytes from one image to the next, 0 for no buffer and for one of one image that all share."""
    return 0 if buffer is None or len(buffer) == 1 else buffer.strides[0]


def pixel_stride(value: NDArray[Any]) -> int:
    """Return the bytes from one pixel of ``[N, H, W, C]`` to the next; numpy says none along an axis of one."""
    return int(next((value.strides[axis] for axis in (2, 1) if value.shape[axis] > 1), value.strides[3]))
