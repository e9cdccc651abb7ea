"""The float dense layer: Gemm or MatMul with a constant weight, where what it reads is made by our kernels or fed.

The classifier of most networks, and the first layer of small ones. A call of onnxruntime for it alone would cost more
than its products.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ..intake.model import Model
from ..operators import STANDARD_DOMAINS, channel_vector
from .graph import stated_attributes

__all__ = ["Linear", "match_linear"]


@dataclass(frozen=True, eq=False)
class Linear:
    """``output = source · weight + bias`` with source float32 ``[N, K]``, weight ``[K, O]``, bias ``[O]``."""

    kind: ClassVar[str] = "float"
    rank: ClassVar[int] = 2

    name: str
    source: str
    output: str
    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    nodes: tuple[int, ...]
    ops: tuple[str, ...]

    @property
    def reads(self) -> tuple[str, ...]:
        """The source alone."""
        return (self.source,)


def match_linear(model: Model, index: int) -> Linear | None:
    """Return the dense layer that node ``index`` is, None for a node that does anything else."""
    node = model.proto.graph.node[index]
    if node.domain not in STANDARD_DOMAINS or node.op_type not in ("Gemm", "MatMul") or len(node.input) < 2:
        return None
    source, weight = str(node.input[0]), model.constants.get(node.input[1])
    if source in model.constants or weight is None or weight.dtype != np.float32 or weight.ndim != 2 or not weight.size:
        return None
    given = stated_attributes(node)
    if given is None:
        return None
    if given.pop("transB", 0):
        weight = weight.T
    wanted = {"alpha": 1.0, "beta": 1.0, "transA": 0}
    if any(wanted.get(name) != value for name, value in given.items()):
        return None
    outputs = weight.shape[1]
    bias: NDArray[np.float32] | None = np.zeros(outputs, np.float32)
    if len(node.input) > 2 and node.input[2]:
        bias = channel_vector(model.constants.get(node.input[2]), 2, outputs)
    if bias is None:
        return None
    output = str(node.output[0])
    return Linear(str(node.name or output), source, output, weight, bias, (index,), (node.op_type,))
