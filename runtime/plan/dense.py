"""The dense layer with real inputs and one bit a weight: one part, whose weights stay bits in memory.

onnxruntime would hold such a weight as floats, 32 times as many bytes, and read all of them for every row. A layer
whose floats fit in a cache is as fast there, and to take it out would cut a float segment in two: it stays.
"""

from dataclasses import dataclass
from typing import ClassVar

import onnx

from ..intake.model import BinaryLayer, Model

__all__ = ["Dense", "find_dense"]

_LARGE = 2**19
"""Weights from which a layer is taken: two MiB as floats, more than the second cache of most CPUs."""


@dataclass(frozen=True, eq=False)
class Dense:
    """``output = (source · signsᵀ) · scale + bias`` with source float32 ``[N, K]``, output ``[N, O]``.

    ``rows`` is N, None where the file does not say it.
    """

    kind: ClassVar[str] = "float"
    rank: ClassVar[int] = 2

    layer: BinaryLayer
    rows: int | None
    nodes: tuple[int, ...]

    @property
    def name(self) -> str:
        """Name of the layer."""
        return self.layer.name

    @property
    def ops(self) -> tuple[str, ...]:
        """Its operator alone."""
        return (self.layer.op_type,)

    @property
    def reads(self) -> tuple[str, ...]:
        """The source alone."""
        return (self.layer.input,)

    @property
    def output(self) -> str:
        """The value that it makes."""
        return self.layer.output


def find_dense(model: Model) -> list[Dense]:
    """Return the large dense layers with a real input that is known to be float32 of rank 2."""
    found = []
    for index, layer in model.layers.items():
        known = model.types.get(layer.input)
        if not layer.real_input or not layer.dense or layer.shape[0] * layer.shape[1] < _LARGE or known is None:
            continue
        if known.elem == onnx.TensorProto.FLOAT and known.shape is not None and len(known.shape) == layer.rank:
            rows = known.shape[0]
            found.append(Dense(layer, rows if isinstance(rows, int) else None, (index,)))
    return found
