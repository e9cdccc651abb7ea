"""The order of work: float segments for onnxruntime and binary segments for the kernels, by turns.

::

    model ─► units, stem, shortcuts, natives, … ─► kernels ─► levels ─► what becomes of each output ─► segments
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from ..intake.model import Model
from .before import take_chains
from .curves import find_curves
from .dense import find_dense
from .gates import find_gates
from .graph import Graph
from .levels import Levels
from .linear import Linear
from .natives import find_natives
from .outputs import find_bit_readers, plan_outputs
from .parts import Choice, Chosen, Part, Planned
from .segments import BinarySegment, FloatSegment, float_segments
from .shared_pools import share_pools
from .shortcut import find_shortcuts
from .stem import find_stem
from .units import Unit, find_units
from .wiring import Wiring

__all__ = ["Plan", "make_plan"]


@dataclass(frozen=True)
class Plan:
    """Segments in order of execution; ``reasons`` says by node index why a binary operator stays float."""

    model: Model
    segments: tuple[FloatSegment | BinarySegment, ...]
    reasons: Mapping[int, str]

    @property
    def parts(self) -> list[Planned[Any]]:
        """Everything that the kernels run, in order of execution."""
        return [part for segment in self.segments if isinstance(segment, BinarySegment) for part in segment.parts]


def make_plan(model: Model, choice: Choice) -> Plan:
    """Fuse, level and cut the graph of ``model``; nothing changes the plan afterwards.

    Raises ModelError where a needed type is not known.
    """
    graph = Graph(model)
    units, reasons = find_units(model, graph)
    stem = find_stem(model, graph, {unit.source for unit in units})
    firsts: list[Part] = [*units, *([] if stem is None else [stem])]
    covered, made = {node for part in firsts for node in part.nodes}, {part.output for part in firsts}
    units, pools = share_pools(graph, take_chains(model, graph, units, covered, made))
    chosen: dict[Part, Chosen] = {unit: choice.unit(unit.layer) for unit in units}
    if stem is not None:
        chosen[stem] = choice.stem(stem.weight)
    for shortcut in find_shortcuts(model, graph, units, stem):
        if (kernel := choice.shortcut(shortcut.weight)) is not None:
            chosen[shortcut] = kernel
    for dense in find_dense(model):
        if (kernel := choice.dense(dense.rows)) is not None:
            chosen[dense] = kernel
    chosen |= {pool: choice.native(pool.ops) for pool in pools}
    products = choice.linear(1) is not None
    for native in find_natives(model, graph, list(chosen), products=products):
        its = choice.linear(native.weight.shape[1]) if isinstance(native, Linear) else None
        chosen[native] = its or choice.native(native.ops)
    parts = sorted(chosen, key=lambda part: max(part.nodes))  # ready once its last node is
    levels = Levels(model, graph, parts)
    wiring = Wiring.of(parts, levels)
    replaced, intervals = find_curves(wiring, choice)
    if replaced := replaced | find_gates(wiring):
        places = [(part, replaced.get(part, part)) for part in parts]
        chosen = {new: chosen[part] for part, new in places if new is not None}
        parts = sorted(chosen, key=lambda part: max(part.nodes))
        levels = Levels(model, graph, parts)
    readers = find_bit_readers([part for part in parts if isinstance(part, Unit)], stem, choice)
    planned = plan_outputs(parts, chosen, levels, readers, intervals)
    floats = float_segments(model, graph, parts, levels)
    segments: list[FloatSegment | BinarySegment] = []
    for level in sorted({*floats, *levels.of_part.values()}):
        here = [planned[part] for part in parts if levels.of_part[part] == level]
        for rank in (4, 2):  # rows may be read from images, images never from rows
            if same := tuple(entry for entry in here if entry.part.rank == rank):
                segments.append(BinarySegment(same))
        if not here:
            segments.append(floats[level])
    return Plan(model, tuple(segments), MappingProxyType(reasons))
