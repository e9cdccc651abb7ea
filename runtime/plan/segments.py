"""The segments of a plan, and the values that cross from one to the next.

Between parts values are channels last, ``[N, H, W, C]`` (``[N, C]`` behind dense layers); a float segment holds the
transposes at its borders.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import ModelError
from ..intake.model import Model
from .graph import Graph
from .levels import Levels
from .mean import Mean
from .parts import Part, Planned
from .view import View

__all__ = ["BinarySegment", "FloatSegment", "float_segments"]


@dataclass(frozen=True)
class FloatSegment:
    """Nodes (by index) for one onnxruntime session; ``name`` is that of its last node.

    ``plain_in``/``plain_out`` are values in the layout of the file, ``channel_last_in``/``channel_last_out`` rank 4
    values that cross the border as NHWC.
    """

    name: str
    nodes: tuple[int, ...]
    plain_in: tuple[str, ...]
    channel_last_in: tuple[str, ...]
    plain_out: tuple[str, ...]
    channel_last_out: tuple[str, ...]


@dataclass(frozen=True)
class BinarySegment:
    """Parts of one rank, in order; their outside inputs and kept outputs are buffers of float32, channels last."""

    parts: tuple[Planned[Any], ...]


@dataclass
class _Borders:
    """What enters and leaves a float segment, collected in order and each value once."""

    plain_in: dict[str, None] = field(default_factory=dict)
    channel_last_in: dict[str, None] = field(default_factory=dict)
    plain_out: dict[str, None] = field(default_factory=dict)
    channel_last_out: dict[str, None] = field(default_factory=dict)


def float_segments(model: Model, graph: Graph, parts: Sequence[Part], levels: Levels) -> dict[int, FloatSegment]:
    """Return the float segments by level; those that nobody reads are left out.

    Raises ModelError where the rank of a value that crosses a border is not known.
    """
    borders = _Cutter(model, parts, levels).borders()
    found = {}
    for level, border in borders.items():
        if border.plain_out or border.channel_last_out:
            nodes = tuple(index for index in levels.floats if levels.of_node[index] == level)
            last = graph.nodes[nodes[-1]] if nodes else None
            name = "layout" if last is None else str(last.name or last.output[0])
            sides = (border.plain_in, border.channel_last_in, border.plain_out, border.channel_last_out)
            found[level] = FloatSegment(name, nodes, *(tuple(side) for side in sides))
    return found


class _Cutter:
    """Walks over all readers of values and notes on the float segments what they take in and hand out."""

    def __init__(self, model: Model, parts: Sequence[Part], levels: Levels) -> None:
        self._model, self._parts, self._levels = model, parts, levels
        self._made = {part.output: part for part in parts}
        self._borders: dict[int, _Borders] = {}

    def borders(self) -> dict[int, _Borders]:
        """Return the borders by level."""
        for index in self._levels.floats:
            for name in self._levels.reads[index]:
                self._bring(name, self._levels.of_node[index])
        for name in self._levels.outputs:
            self._hand_out(name)
        for part in self._parts:
            for name in part.reads:
                self._hand_to_a_part(name, part)
        return self._borders

    def _at(self, level: int) -> _Borders:
        return self._borders.setdefault(level, _Borders())

    def _bring(self, name: str, level: int) -> None:
        """Make ``name`` an input of the float segment on ``level`` unless it is made there."""
        if name in self._model.constants:
            return
        if name in self._made and self._rank(name) == 4:
            self._at(level).channel_last_in[name] = None
        elif name in self._made or name in self._levels.inputs:
            self._at(level).plain_in[name] = None
        elif (home := self._levels.of_value[name]) != level:
            self._at(level).plain_in[name] = None
            self._at(home).plain_out[name] = None

    def _hand_out(self, name: str) -> None:
        """Let a float segment give an output of the model in the layout of the file."""
        by_part = name in self._made
        if by_part and self._rank(name) == 2:
            return  # a dense layer's buffer is in the file's layout already
        level = self._levels.of_value.get(name, 0) + by_part
        if by_part or name in self._levels.inputs:
            self._bring(name, level)  # the segment hands a kernel's or the caller's value on
        self._at(level).plain_out[name] = None

    def _hand_to_a_part(self, name: str, part: Part) -> None:
        """Let a float segment give what a part reads, unless a part makes it or the caller feeds it as it is read."""
        rank = 4 if isinstance(part, (Mean, View)) else part.rank
        if self._rank(name) != rank:
            raise ModelError(f"node {part.name}: {name} has rank {self._rank(name)}, it reads values of rank {rank}")
        if name in self._made:
            return
        if self._rank(name) == 4:
            level = self._levels.of_value[name]
            if name in self._levels.inputs:
                self._bring(name, level)
            self._at(level).channel_last_out[name] = None
        elif name not in self._levels.inputs:
            self._at(self._levels.of_value[name]).plain_out[name] = None

    def _rank(self, name: str) -> int:
        if name in self._made:
            return self._made[name].rank
        known = self._model.types.get(name)
        if known is None or known.shape is None:
            raise ModelError(f"the shape of value {name} is not known; export the model with shapes on every value")
        return len(known.shape)
