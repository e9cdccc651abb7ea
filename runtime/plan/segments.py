"""The order of work: float segments for onnxruntime and binary segments for the kernels, by turns.

Level partition: a float node stands on an even level, a binary unit on an odd one, each as early as its inputs allow.
All float nodes of a level run in one onnxruntime session with several inputs and outputs, so a graph has as few changes
between the two as its longest path has::

    level 0 float     level 1 binary        level 2 float            level 3 binary
    stem  ──────────► unit ─► unit ───────► average pool, 1×1 conv ─► unit ─► unit ─► …
            NHWC            packed bits               NHWC

Between binary units values are NHWC (``[N, C]`` for dense layers); a float segment holds the transposes at its borders.
"""

import sys
from dataclasses import dataclass, field

from ..errors import ModelError
from ..intake.model import Model
from .shortcut import Projection, find_projections
from .stem import Stem, find_stem
from .units import Graph, Unit, find_units, read_values

__all__ = ["BinarySegment", "FloatSegment", "Plan", "in_place_units", "make_plan"]


Native = Unit | Stem | Projection
"""What the kernels run."""


@dataclass
class FloatSegment:
    """Nodes (by index) for one onnxruntime session.

    ``plain_in``/``plain_out`` are values in the layout of the file, ``channel_last_in``/``channel_last_out`` rank 4
    values that cross the border as NHWC.
    """

    nodes: list[int] = field(default_factory=list)
    plain_in: list[str] = field(default_factory=list)
    channel_last_in: list[str] = field(default_factory=list)
    plain_out: list[str] = field(default_factory=list)
    channel_last_out: list[str] = field(default_factory=list)


@dataclass
class BinarySegment:
    """Units, perhaps a stem first, to run in order; their outside inputs and kept outputs are NHWC float32 buffers."""

    units: list[Native] = field(default_factory=list)


@dataclass(frozen=True)
class Plan:
    """Segments in order of execution; ``reasons`` says by node index why a binary op stays float."""

    model: Model
    segments: list[FloatSegment | BinarySegment]
    reasons: dict[int, str]

    @property
    def units(self) -> list[Unit]:
        """Every binary unit in order of execution."""
        return [unit for unit in self._native if isinstance(unit, Unit)]

    @property
    def stems(self) -> list[Stem]:
        """The exact stem, if the model has one."""
        return [unit for unit in self._native if isinstance(unit, Stem)]

    @property
    def _native(self) -> list[Native]:
        return [unit for segment in self.segments if isinstance(segment, BinarySegment) for unit in segment.units]


def make_plan(model: Model) -> Plan:
    """Fuse, level and cut the graph of ``model``. Raises ModelError where a needed type is not known."""
    graph = Graph(model)
    units, reasons = find_units(model, graph)
    stem = find_stem(model, graph)
    native: list[Native] = [*units, *find_projections(model, graph, units, stem)]
    native.sort(key=lambda unit: max(unit.nodes))  # ready once its last stage is
    planner = _Planner(model, [*([] if stem is None else [stem]), *native])
    segments = planner.segments()
    return Plan(model, segments, reasons)


def in_place_units(plan: Plan) -> frozenset[Unit]:
    """Return the units after which nobody reads their residual: they may write their output where it lies."""
    last: dict[str, int] = dict.fromkeys((info.name for info in plan.model.proto.graph.output), sys.maxsize)
    places: dict[Unit, int] = {}
    place = 0
    for segment in plan.segments:
        place += 1
        if isinstance(segment, FloatSegment):
            reads = [(place, name) for name in (*segment.plain_in, *segment.channel_last_in)]
        else:
            order = {unit: place + index for index, unit in enumerate(segment.units)}
            places |= {unit: at for unit, at in order.items() if isinstance(unit, Unit)}
            reads = [(at, name) for unit, at in order.items() for name in (unit.source, unit.residual) if name]
            place += len(segment.units)
        for at, name in reads:
            last[name] = max(last.get(name, 0), at)
    return frozenset(unit for unit, at in places.items() if unit.residual is not None and last[unit.residual] == at)


class _Planner:
    def __init__(self, model: Model, units: list[Native]) -> None:
        self.model, self.units = model, units
        self.nodes = model.proto.graph.node
        self.inputs = [i.name for i in model.proto.graph.input if i.name not in model.constants]
        self.outputs = [info.name for info in model.proto.graph.output]
        self.native = {unit.output: unit for unit in units}
        self.floats = self._float_nodes()
        self.reads = {index: _reads(model, index) for index in self.floats}
        self.level: dict[str, int] = dict.fromkeys([*self.inputs, *model.constants], 0)
        self.unit_level: dict[int, int] = {}
        self.node_level: dict[int, int] = {}
        self._assign_levels()
        self._hand_over()

    def _hand_over(self) -> None:
        """Decide for each unit who gets its output as bits and whether its floats are kept."""
        wanted = {name for names in self.reads.values() for name in names} | set(self.outputs)
        wanted |= {unit.residual for unit in self.units if unit.residual}
        for unit in self.units:
            unit.stored = unit.output in wanted
        for reader in self.units:
            maker = self.native.get(reader.source)
            if maker is None or isinstance(reader, Stem):
                continue
            if isinstance(reader, Projection):
                maker.stored = True
                continue
            assert not isinstance(maker, Projection), "a shortcut leads to residuals alone"
            if maker.bits_for is None and reader.pool is None:
                maker.bits_for = reader  # if the kernels agree where bits lie: see steps.prepare
            else:
                maker.stored = True  # packed from floats by a step of its own

    def _float_nodes(self) -> list[int]:
        """Return the nodes that no unit covers and somebody needs, walking back from outputs and unit inputs."""
        covered = {index for unit in self.units for index in unit.nodes}
        producer = {name: index for index, node in enumerate(self.nodes) for name in node.output if name}
        open_ = [*self.outputs, *(u.source for u in self.units), *(u.residual for u in self.units if u.residual)]
        needed: set[int] = set()
        while open_:
            index = producer.get(open_.pop())
            if index is not None and index not in covered and index not in needed:
                needed.add(index)
                open_ += _reads(self.model, index)
        return sorted(index for index in needed if self.nodes[index].output[0] not in self.model.constants)

    def _assign_levels(self) -> None:
        """Give every unit an odd and every float node an even level, in graph order (a file is sorted)."""
        order: list[tuple[int, Native | None]] = [(index, None) for index in self.floats]
        order += [(max(unit.nodes), unit) for unit in self.units]
        for index, unit in sorted(order, key=lambda entry: entry[0]):
            if unit is None:
                level = max((self._seen(name, binary=False) for name in self.reads[index]), default=0)
                self.node_level[index] = level
                self.level.update(dict.fromkeys(self.nodes[index].output, level))
            else:
                names = [unit.source, *([unit.residual] if unit.residual else [])]
                level = max(1, *(self._seen(name, binary=True) for name in names))
                self.unit_level[id(unit)] = level
                self.level[unit.output] = level

    def _seen(self, name: str, *, binary: bool) -> int:
        """Return the earliest level of a reader of ``name``."""
        if name not in self.level:
            raise ModelError(f"value {name} is read before it is made; the nodes of a file must be sorted")
        level = self.level[name]
        return level + 1 if (name in self.native) != binary else level

    def segments(self) -> list[FloatSegment | BinarySegment]:
        """Group by level and give every float segment its borders."""
        top = max(
            [0, *self.node_level.values(), *self.unit_level.values(), *(self._out_level(n) for n in self.outputs)]
        )
        floats = {level: FloatSegment() for level in range(0, top + 1, 2)}
        binaries = {level: BinarySegment() for level in range(1, top + 1, 2)}
        for index in self.floats:
            floats[self.node_level[index]].nodes.append(index)
        for unit in self.units:
            binaries[self.unit_level[id(unit)]].units.append(unit)
        for index in self.floats:
            for name in self.reads[index]:
                self._bring(floats, name, self.node_level[index])
        for name in self.outputs:
            if name in self.native and self.rank(name) == 2:
                continue  # a dense layer's buffer is in the file's layout already
            level = self._out_level(name)
            if level != self.level.get(name) or name in self.inputs or name in self.model.constants:
                self._bring(floats, name, level)  # the segment that hands a kernel's or the caller's value on
            _put(floats[level].plain_out, name)
        for unit in self.units:
            for read in (unit.source, unit.residual):
                if read is None or read in self.native or isinstance(unit, Stem):
                    continue  # a stem reads pixels as the caller gives them
                if self.rank(read) == 4:
                    if read in self.inputs:
                        self._bring(floats, read, self.level[read])
                    _put(floats[self.level[read]].channel_last_out, read)
                elif read not in self.inputs:
                    _put(floats[self.level[read]].plain_out, read)
        ordered: list[FloatSegment | BinarySegment] = []
        for level in range(top + 1):
            segment = floats[level] if level % 2 == 0 else binaries[level]
            if (isinstance(segment, BinarySegment) and segment.units) or (
                isinstance(segment, FloatSegment) and (segment.plain_out or segment.channel_last_out)
            ):
                ordered.append(segment)
        return ordered

    def _out_level(self, name: str) -> int:
        turned = name in self.native and self.rank(name) == 4
        return self.level.get(name, 0) + turned

    def _bring(self, floats: dict[int, FloatSegment], name: str, level: int) -> None:
        """Make ``name`` an input of the float segment at ``level`` unless it is made there."""
        if name in self.model.constants:
            return
        if name in self.native:
            _put(floats[level].channel_last_in if self.rank(name) == 4 else floats[level].plain_in, name)
        elif name in self.inputs:
            _put(floats[level].plain_in, name)
        elif self.level[name] != level:
            _put(floats[level].plain_in, name)
            _put(floats[self.level[name]].plain_out, name)

    def rank(self, name: str) -> int:
        """Return the rank of a value."""
        if name in self.native:
            return 2 if self.native[name].dense else 4
        known = self.model.types.get(name)
        if known is None or known.shape is None:
            raise ModelError(f"the shape of value {name} is not known; export the model with shapes on every value")
        return len(known.shape)


def _reads(model: Model, index: int) -> list[str]:
    """Return the values a float node reads that are made by nodes or are inputs of the graph."""
    return [name for name in read_values(model.proto.graph.node[index]) if name not in model.constants]


def _put(names: list[str], name: str) -> None:
    if name not in names:
        names.append(name)
