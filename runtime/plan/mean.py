"""The mean over each image of an NHWC value, where packed layers or gates read it: the pool of squeeze-and-excite.

It sums in the order of the pixels: the same bits on every CPU, though not those of onnxruntime, whose order depends on
the CPU. A mean that only float operators read stays with them.
"""

from dataclasses import dataclass
from typing import ClassVar

import onnx

from ..intake.model import Model
from ..operators import STANDARD_DOMAINS

__all__ = ["Mean", "match_mean"]


@dataclass(frozen=True, eq=False)
class Mean:
    """``output[n, c] = mean(source[n, c])``, of ``[N, C, H, W]`` and ``[N, C, 1, 1]``."""

    kind: ClassVar[str] = "float"
    rank: ClassVar[int] = 4

    name: str
    source: str
    output: str
    channels: int
    nodes: tuple[int, ...]
    ops: tuple[str, ...]

    @property
    def reads(self) -> tuple[str, ...]:
        """The source alone."""
        return (self.source,)


def match_mean(model: Model, node: onnx.NodeProto) -> str | None:
    """Return the value whose images a node takes the mean of, None for a node that does anything else."""
    if node.domain not in STANDARD_DOMAINS or node.op_type not in ("GlobalAveragePool", "ReduceMean"):
        return None
    if node.op_type == "ReduceMean":
        given = {entry.name: list(entry.ints) or entry.i for entry in node.attribute}
        axes = given.get("axes")
        if len(node.input) > 1:
            axes = model.constants[node.input[1]].tolist() if node.input[1] in model.constants else None
        if not isinstance(axes, list) or given.get("keepdims", 1) != 1:
            return None
        if sorted(axis % 4 for axis in axes) != [2, 3] or len(axes) != 2 or not all(-4 <= axis < 4 for axis in axes):
            return None
    return str(node.input[0])
