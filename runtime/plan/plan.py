"""The order of work: float segments for onnxruntime and binary segments for the kernels, by turns.

::

    model ─► units, stem, shortcuts, natives, … ─► kernels ─► levels ─► what becomes of each output ─► segments
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from ..intake.model import Model
from .before import take_chains
from .chain import Chain
from .curves import find_curves
from .dense import find_dense
from .float_stem import behind_stem, find_float_stem, stands_alone, with_chain
from .gates import find_gates
from .graph import Graph
from .integers import IntegerConv, find_integer_layers
from .levels import Levels
from .linear import Linear
from .natives import find_natives
from .outputs import find_bit_readers, plan_outputs
from .parts import Choice, Chosen, Part, Planned
from .segments import BinarySegment, FloatSegment, float_segments
from .shared_pools import share_pools
from .shortcut import find_shortcuts
from .stem import Stem, find_stem
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
    found, reasons = find_units(model, graph)
    packed = {unit.source for unit in found}
    stems: dict[Part, Chosen] = {
        layer: kernel
        for layer in find_integer_layers(model, graph, packed)
        if (kernel := choice.integers(layer.weight)) is not None
    }
    if (stem := find_stem(model, graph, packed)) is not None:
        stems[stem] = choice.stem(stem.weight)
    chosen = None if stem is not None else _with_float_stem(model, graph, found, choice, stems)
    if chosen is None:
        chosen = _chosen(model, graph, found, choice, stems)
    parts = sorted(chosen, key=lambda part: max(part.nodes))  # ready once its last node is
    levels = Levels(model, graph, parts)
    wiring = Wiring.of(parts, levels)
    replaced, intervals = find_curves(wiring, choice)
    if replaced := replaced | find_gates(wiring):
        places = [(part, replaced.get(part, part)) for part in parts]
        chosen = {new: chosen[part] for part, new in places if new is not None}
        parts = sorted(chosen, key=lambda part: max(part.nodes))
        levels = Levels(model, graph, parts)
    of_integers = [part for part in parts if isinstance(part, (IntegerConv, Stem))]
    readers = find_bit_readers([part for part in parts if isinstance(part, Unit)], of_integers, choice)
    planned = plan_outputs(parts, chosen, levels, readers, intervals)
    floats = float_segments(model, graph, parts, levels)
    segments: list[FloatSegment | BinarySegment] = []
    for level in sorted({*floats, *levels.of_part.values()}):
        here = tuple(planned[part] for part in parts if levels.of_part[part] == level)
        segments.append(BinarySegment(here) if here else floats[level])
    return Plan(model, tuple(segments), MappingProxyType(reasons))


def _chosen(
    model: Model, graph: Graph, units: Sequence[Unit], choice: Choice, stems: Mapping[Part, Chosen]
) -> dict[Part, Chosen]:
    """Return every part with its kernel: the first layers, the units, and what is found around them."""
    firsts: list[Part] = [*units, *stems]
    covered, made = {node for part in firsts for node in part.nodes}, {part.output for part in firsts}
    units, pools = share_pools(graph, take_chains(model, graph, units, covered, made))
    chosen: dict[Part, Chosen] = {
        unit: (None if unit.copy is None else choice.planes(unit.copy)) or choice.unit(unit.layer) for unit in units
    }
    chosen |= stems
    for shortcut in find_shortcuts(model, graph, units, {stem.output for stem in stems}):
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
    return chosen


def _with_float_stem(
    model: Model, graph: Graph, units: Sequence[Unit], choice: Choice, others: Mapping[Part, Chosen]
) -> dict[Part, Chosen] | None:
    """Return the same with the float stem; None where there is none, or onnxruntime reads what is made of it."""
    stem = find_float_stem(model, graph, units)
    kernel = None if stem is None else choice.float_stem(stem.weight)
    if stem is None or kernel is None:
        return None
    chosen = _chosen(model, graph, behind_stem(graph, stem, units), choice, {**others, stem: kernel})
    if not stands_alone(model, graph, stem, chosen):
        return None
    for chain in [part for part in chosen if isinstance(part, Chain)]:
        if (longer := with_chain(stem, chain, chosen)) is not None:
            del chosen[stem], chosen[chain]
            chosen[longer] = kernel
            break
    return chosen
