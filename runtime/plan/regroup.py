"""Pixels of images in another order: windows and patches, as Reshapes and Transposes one behind another make them.

::

    [N, C, H, W] ─ Reshape ─ Transpose ─ Reshape ─ … ─► [N·4, H·W/4, C]           pixels of a patch of 2×2 lie apart

All channels of a pixel stay together, so that only pixels move. Which one goes where is found by doing the operators on
the numbers 0, 1, 2, …: on two images where a batch may have several, for each must keep its own pixels and have them in
the same order.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import onnx
from numpy.typing import NDArray

from ..intake.model import Model
from ..operators import STANDARD_DOMAINS

__all__ = ["Regroup", "pixel_order", "transforms"]

_LARGE = 2**22
"""Numbers from which an order is not tried."""


@dataclass(frozen=True, eq=False)
class Regroup:
    """Pixel i of each image of ``output`` is pixel ``order[i]`` of the same image of ``source``.

    Ranks are those of layouts; ``size`` is height and width of an output of images.
    """

    kind: ClassVar[str] = "float"

    name: str
    source: str
    source_rank: int
    output: str
    rank: int
    channels: int
    size: tuple[int, int] | None
    order: NDArray[np.int64]
    nodes: tuple[int, ...]
    ops: tuple[str, ...]

    @property
    def reads(self) -> tuple[str, ...]:
        """The source alone."""
        return (self.source,)


def transforms(model: Model, node: onnx.NodeProto) -> tuple[str, tuple[int, ...]] | None:
    """Return the operator and the permutation or the shape of a Transpose or a Reshape; None for any other node."""
    if node.domain not in STANDARD_DOMAINS or node.op_type not in ("Reshape", "Transpose"):
        return None
    given = {entry.name: entry for entry in node.attribute}
    if node.op_type == "Transpose":
        return ("Transpose", tuple(given["perm"].ints)) if "perm" in given else None
    shape = model.constants.get(node.input[1]) if len(node.input) == 2 else None
    if shape is None or ("allowzero" in given and given["allowzero"].i):
        return None
    return "Reshape", tuple(int(size) for size in shape.reshape(-1))


def pixel_order(
    count: int,
    pixels: int,
    channels: int,
    before: tuple[bool, Sequence[int]],
    steps: Sequence[tuple[str, Any]],
    images: bool,
) -> NDArray[np.int64] | None:
    """Return where the pixels of an image come from when ``steps`` are done; None where more than pixels moves.

    count: images to try it on. before: whether the source lies as images, and its axes. images: whether the result does
    so too.
    """
    if not 0 < count * pixels * channels <= _LARGE:
        return None
    numbers: NDArray[np.int64] = np.arange(count * pixels * channels)
    if before[0]:
        numbers = numbers.reshape(count, pixels, channels).transpose(0, 2, 1)
    try:
        numbers = numbers.reshape(tuple(before[1]))
        for op, how in steps:
            numbers = numbers.transpose(how) if op == "Transpose" else numbers.reshape(_shape(numbers.shape, how))
        if images:
            numbers = np.moveaxis(numbers.reshape(count, channels, pixels), 1, -1)
        numbers = numbers.reshape(count, pixels, channels)
    except ValueError:  # these axes, or so many numbers, are not there
        return None
    order = numbers[0, :, 0] // channels
    images_apart = np.arange(count)[:, None, None] * (pixels * channels)
    kept = order[None, :, None] * channels + np.arange(channels) + images_apart
    return order if np.array_equal(numbers, kept) else None


def _shape(before: tuple[int, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(before[axis] if size == 0 else size for axis, size in enumerate(shape))
