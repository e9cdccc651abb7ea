"""What becomes of each output: bits for the next unit, floats for whoever needs them, and where the floats lie."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from .alias import Alias
from .integers import IntegerConv
from .intervals import Intervals, find_intervals
from .joins import find_places
from .levels import Levels
from .parts import Choice, Chosen, Part, Place, Planned
from .stem import Stem
from .thresholds import find_thresholds
from .units import Unit
from .view import View

__all__ = ["find_bit_readers", "plan_outputs"]


def find_bit_readers(units: Sequence[Unit], stems: Sequence[IntegerConv | Stem], choice: Choice) -> dict[str, Unit]:
    """Return by value the unit that gets it as bits from the kernel that makes it: the first whose kernel fits.

    A unit with a pool or a gate packs floats in a step of its own, and so does every further reader of the same value.
    """
    makers = {unit.output: unit.layer for unit in units}
    made = {unit.output: (unit.rank, unit.channels_out) for unit in units}
    for stem in stems:
        made[stem.output] = stem.rank, stem.channels_out
    readers: dict[str, Unit] = {}
    for unit in sorted(units, key=lambda unit: max(unit.nodes)):
        if made.get(unit.source) != (unit.rank, unit.layer.channels) or unit.source in readers:
            continue
        if unit.pool is not None or unit.gate is not None:
            continue
        if choice.bits_fit(makers.get(unit.source), unit.layer):
            readers[unit.source] = unit
    return readers


def plan_outputs(
    parts: Sequence[Part],
    chosen: Mapping[Part, Chosen],
    levels: Levels,
    readers: Mapping[str, Unit],
    curves: Mapping[str, Intervals],
) -> dict[Part, Planned[Any]]:
    """Return every part planned; ``parts`` are in order of execution, ``readers`` get bits, by value.

    ``curves`` are the intervals of units whose readers have a curve, by value.
    """
    stored = _values_as_floats(parts, levels, readers)
    places = find_places(parts, levels)
    in_place, until = _in_place(parts, levels, places), _last_readers(parts, levels, places)
    planned: dict[Part, Planned[Any]] = {}
    for part in reversed(parts):  # for each holds the reader of its bits, which comes later
        reader, kernel = readers.get(part.output), chosen[part]
        thresholds, intervals = None, curves.get(part.output)
        if isinstance(part, Unit) and reader is not None and part.output not in stored and intervals is None:
            thresholds = find_thresholds(part, reader.threshold)
            if thresholds is None:
                intervals = find_intervals(part, lambda y: y, reader.threshold)
        integers = "" if thresholds is None else "; integer thresholds"
        integers = integers if intervals is None else "; integer intervals"
        planned[part] = Planned(
            part,
            kernel.kernel,
            kernel.reason + integers,
            stored=part.output in stored,
            bits_for=None if reader is None else planned[reader],
            bits_kept=reader is not None and levels.of_part[reader] != levels.of_part[part],
            in_place=part in in_place,
            thresholds=thresholds,
            intervals=intervals,
            until=until.get(part),
            place=places.get(part.output),
        )
    return planned


def _values_as_floats(parts: Sequence[Part], levels: Levels, readers: Mapping[str, Unit]) -> set[str]:
    """Return the values that somebody reads as floats."""
    units = set(readers.values())
    values = {*levels.outputs, *(name for names in levels.reads.values() for name in names)}
    for part in parts:
        values.update(part.reads[1:] if part in units else part.reads)  # the source of such a unit comes as bits
    return values


def _in_place(parts: Sequence[Part], levels: Levels, places: Mapping[str, Place]) -> set[Part]:
    """Return the units after which nobody reads their residual, and that lie in no other value's memory, nor it.

    What a view or an alias reads, and what it gives, is one memory of two names: it stays.
    """
    order = {part: (float(levels.of_part[part]), index) for index, part in enumerate(parts)}
    reads = [((math.inf, 0), name) for name in levels.outputs]
    reads += [((float(levels.of_node[node]), 0), name) for node in levels.floats for name in levels.reads[node]]
    reads += [(when, name) for part, when in order.items() for name in part.reads]
    last = {name: when for when, name in sorted(reads)}
    for part in parts:
        if isinstance(part, (Alias, View)):
            last |= dict.fromkeys((part.source, part.output), (math.inf, 0))
    units = [part for part in parts if isinstance(part, Unit) and last.get(part.residual or "") == order[part]]
    return {unit for unit in units if not {unit.output, unit.residual} & {*places}}


def _last_readers(parts: Sequence[Part], levels: Levels, places: Mapping[str, Place]) -> dict[Part, Part]:
    """Return by part the last one that reads its output, or what lies in one memory with it.

    Only where parts of its own segment alone make and read all of that.
    """

    def memory(name: str) -> str:
        return places[name].home if name in places else name

    outside = {memory(name) for names in ([*levels.outputs], *levels.reads.values()) for name in names}
    makers: dict[str, list[Part]] = {}
    for part in parts:
        if memory(part.output) not in outside:
            makers.setdefault(memory(part.output), []).append(part)
    last: dict[str, Part] = {}
    used = {name: {levels.of_part[part] for part in made} for name, made in makers.items()}
    named_twice: set[str] = set()
    for part in parts:
        for name in {memory(name) for name in part.reads} & makers.keys():
            last[name] = part
            used[name].add(levels.of_part[part])
        if isinstance(part, Alias):
            named_twice |= {memory(name) for name in (*part.reads, part.output)}
    inside = {name for name, where in used.items() if name in last and len(where) == 1} - named_twice
    return {maker: last[name] for name in inside for maker in makers[name]}
