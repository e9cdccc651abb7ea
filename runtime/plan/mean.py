"""The mean over each image of an NHWC value that our kernels make: the pool of squeeze-and-excite, and of classifiers.

It sums in the order of the pixels: the same bits on every CPU, though not those of onnxruntime, whose order depends on
the CPU.
"""

from dataclasses import dataclass
from typing import ClassVar

from ..intake.model import Model
from ..operators import STANDARD_DOMAINS
from .graph import stated_attributes

__all__ = ["Mean", "match_mean"]


@dataclass(frozen=True, eq=False)
class Mean:
    """``output[n, c] = mean(source[n, c])``, of ``[N, C, H, W]`` and ``[N, C, 1, 1]``, or ``[N, C]`` with rank 2.

    ``size`` is the height and width of the source where the node takes images of no other.
    """

    kind: ClassVar[str] = "float"

    name: str
    source: str
    output: str
    rank: int
    channels: int
    size: tuple[int, int] | None
    nodes: tuple[int, ...]
    ops: tuple[str, ...]

    @property
    def reads(self) -> tuple[str, ...]:
        """The source alone."""
        return (self.source,)


def match_mean(model: Model, index: int, rank: int, channels: int) -> Mean | None:
    """Return the mean over images that node ``index`` is, None for a node that does anything else.

    An AveragePool is one where its window is the image.
    """
    node = model.proto.graph.node[index]
    if node.domain not in STANDARD_DOMAINS or not node.input:
        return None
    given = stated_attributes(node)
    if given is None:
        return None
    source, size = str(node.input[0]), None
    if node.op_type == "ReduceMean":
        axes = given.get("axes")
        if len(node.input) > 1:
            axes = model.constants[node.input[1]].tolist() if node.input[1] in model.constants else None
        if not isinstance(axes, list) or given.get("keepdims", 1) != (rank == 4):
            return None
        if sorted(axis % 4 for axis in axes) != [2, 3] or len(axes) != 2 or not all(-4 <= axis < 4 for axis in axes):
            return None
    elif node.op_type == "AveragePool":
        known = model.types.get(source)
        size = None if known is None else known.image_size
        plain = not any(given.get("pads", ())) and given.get("auto_pad", b"NOTSET") in (b"NOTSET", b"VALID")
        plain = plain and set(given.get("dilations", ())) <= {1}
        if size is None or not plain or tuple(given.get("kernel_shape", ())) != size:
            return None
    elif node.op_type != "GlobalAveragePool":
        return None
    output = str(node.output[0])
    return Mean(str(node.name or output), source, output, rank, channels, size, (index,), (node.op_type,))
