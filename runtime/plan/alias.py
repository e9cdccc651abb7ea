"""An alias: a Transpose or Reshape after which every number lies where it lay, as the kernels keep values.

::

    image [N, C, H, W] ─ Transpose ─► tokens [N, H, W, C] ─ Reshape ─► rows [N·H·W, C]     one memory, pixel after pixel
"""

from dataclasses import dataclass
from typing import ClassVar, cast

import numpy as np

from ..intake.model import Model
from .graph import Graph
from .layouts import Layouts
from .regroup import Regroup

__all__ = ["Alias", "match_alias"]


@dataclass(frozen=True, eq=False)
class Alias:
    """``output`` in the memory of ``source``.

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
    nodes: tuple[int, ...]
    ops: tuple[str, ...]

    @property
    def reads(self) -> tuple[str, ...]:
        """The source alone."""
        return (self.source,)


def match_alias(model: Model, graph: Graph, layouts: Layouts, name: str) -> Alias | Regroup | None:
    """Return the alias that the node which makes a value is, or the regroup with nodes before it; None for neither."""
    index = graph.producer[name]
    node, layout = graph.nodes[index], layouts.of(name)
    moved = layouts.moved.get(name)
    if layout is None or (moved is None and not layouts.renames(name, node)):
        return None
    source, size = str(node.input[0]) if moved is None else moved[0], None
    before, known = layouts.of(source), model.types.get(name)
    if before is None or known is None or known.shape is None:
        return None
    if layout.rank == 4:
        size = cast("tuple[int, int]", (1, *known.shape[2:])[-2:])
    ranks, place = (before.rank, name, layout.rank), (layout.channels, size)
    if moved is None or np.array_equal(moved[1], np.arange(len(moved[1]))):
        return Alias(str(node.name or name), source, *ranks, *place, (index,), (node.op_type,))
    return Regroup(str(node.name or name), source, *ranks, *place, moved[1], (index,), (node.op_type,))
