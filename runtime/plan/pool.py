"""MaxPool and AveragePool of images that our kernels make, where several read the result or it is needed as floats.

A max-pool that a single Binarize reads belongs to the packing of its unit (units.py), which makes no floats at all. An
average sums its window row by row, pixel after pixel, and divides once: the same bits on every CPU.
"""

from dataclasses import dataclass
from typing import ClassVar

import onnx

from ..intake.windows import Window, pool_window

__all__ = ["Pool", "PoolOf", "match_pool"]


@dataclass(frozen=True)
class PoolOf:
    """What a node pools; ``mean``: an average, of all pixels of the window or, with ``inside``, those of the image."""

    source: str
    window: Window
    mean: bool
    inside: bool

    @property
    def reads(self) -> tuple[str, ...]:
        """The source alone."""
        return (self.source,)


@dataclass(frozen=True, eq=False)
class Pool:
    """A pool as one part, of a value with so many ``channels``."""

    kind: ClassVar[str] = "float"
    rank: ClassVar[int] = 4

    name: str
    output: str
    channels: int
    of: PoolOf
    nodes: tuple[int, ...]
    ops: tuple[str, ...]

    @property
    def reads(self) -> tuple[str, ...]:
        """The source alone."""
        return self.of.reads


def match_pool(node: onnx.NodeProto) -> PoolOf | None:
    """Return what a node pools, None for a node that does anything else.

    How many pixels an average counts whose window ends behind the padding is not the same in all versions of ONNX.
    """
    window = pool_window(node) if node.op_type in ("AveragePool", "MaxPool") else None
    if window is None:
        return None
    given = {entry.name: entry.i for entry in node.attribute}
    inside = not given.get("count_include_pad", 0) or not any(window.pads)
    if not inside and window.ceil:
        return None
    return PoolOf(str(node.input[0]), window, node.op_type == "AveragePool", inside)
