"""LayerNormalization over the channels of each row, between packed layers.

::

    mean = Σ x / C        variance = Σ (x − mean)² / C        y = (x − mean) · 1 / √(variance + ε) · scale + bias

The sums are of float32 in an order that kernels/norm.py states: the same bits on every CPU, though not those of
onnxruntime, whose order depends on the CPU.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ..intake.model import Model
from ..operators import STANDARD_DOMAINS, channel_vector
from .graph import stated_attributes
from .layouts import Layout

__all__ = ["Norm", "match_norm"]


@dataclass(frozen=True, eq=False)
class Norm:
    """The layer normalization of rows; ``scale`` and ``bias`` are float32 ``[C]``."""

    kind: ClassVar[str] = "float"

    name: str
    source: str
    output: str
    rank: int
    scale: NDArray[np.float32]
    bias: NDArray[np.float32]
    epsilon: np.float32
    nodes: tuple[int, ...]
    ops: tuple[str, ...]

    @property
    def reads(self) -> tuple[str, ...]:
        """The source alone."""
        return (self.source,)

    @property
    def channels(self) -> int:
        """The channels that are normalized together."""
        return len(self.scale)


def match_norm(model: Model, index: int, name: str, layout: Layout) -> Norm | None:
    """Return the normalization that node ``index`` is, None for a node that does anything else.

    ``layout`` is that of the value, which is one of rows if the node normalizes over the last axis.
    """
    node = model.proto.graph.node[index]
    if node.op_type != "LayerNormalization" or node.domain not in STANDARD_DOMAINS or layout.rank == 4:
        return None
    given = stated_attributes(node)
    if given is None:
        return None
    known = model.types.get(str(node.input[0]))
    last = () if known is None or known.shape is None else (-1, len(known.shape) - 1)
    if given.get("axis", -1) not in last or given.get("stash_type", 1) != 1 or list(node.output) != [name]:
        return None
    given_bias = len(node.input) > 2 and node.input[2]
    scale = channel_vector(model.constants.get(node.input[1]), 2, layout.channels)
    bias = channel_vector(model.constants.get(node.input[2]), 2, layout.channels) if given_bias else None
    if scale is None or (bias is None and given_bias):
        return None
    return Norm(
        name=str(node.name or name),
        source=str(node.input[0]),
        output=name,
        rank=layout.rank,
        scale=scale,
        bias=np.zeros(layout.channels, np.float32) if bias is None else bias,
        epsilon=np.float32(given.get("epsilon", 1e-5)),
        nodes=(index,),
        ops=(node.op_type,),
    )
