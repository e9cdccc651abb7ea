"""Chains between two units that keep no order and vanish all the same: the first unit writes the bits behind them.

::

    unit ─ [HardSwish, or x · Sigmoid(x), …] ─ Binarize ─► unit          becomes           unit ═ bits ═► unit

That needs a chain of one value alone, a unit whose floats nobody else reads, and one unit that reads the chain. What
the bits are, :mod:`.intervals` finds; where they change too often, everything stays as it is.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from .chain import Chain
from .intervals import Intervals, find_intervals
from .levels import Levels
from .parts import Choice, Part
from .units import Unit

__all__ = ["Curve", "find_curves"]


@dataclass(frozen=True, eq=False)
class Curve:
    """The ``chains`` that vanish, and their ``reader``, which becomes ``shortened``: it takes the bits of ``of``.

    ``intervals`` are what the unit that makes the value ``of`` writes.
    """

    chains: tuple[Chain, ...]
    reader: Unit
    shortened: Unit
    of: str
    intervals: Intervals


def find_curves(parts: Sequence[Part], levels: Levels, choice: Choice) -> list[Curve]:
    """Return what vanishes between units among ``parts``."""
    made = {part.output: part for part in parts}
    readers: dict[str, list[Part]] = {}
    for part in parts:
        for name in part.reads:
            readers.setdefault(name, []).append(part)
    outside = {*levels.outputs, *(name for names in levels.reads.values() for name in names)}
    found = (_curve(unit, made, readers, outside, choice) for unit in parts if isinstance(unit, Unit))
    return [curve for curve in found if curve is not None]


def _curve(
    unit: Unit,
    made: Mapping[str, Part],
    readers: Mapping[str, Sequence[Part]],
    outside: Collection[str],
    choice: Choice,
) -> Curve | None:
    """Return the curve before a unit."""
    if unit.pool is not None or unit.copies > 1:
        return None
    chains, waiting, roots = list[Chain](), [unit.source], set[str]()
    while waiting:
        part = made.get(name := waiting.pop())
        if not isinstance(part, Chain):
            roots.add(name)
        elif part not in chains:
            chains.append(part)
            waiting += part.reads
    maker = made.get(next(iter(roots)))
    if len(roots) > 1 or not chains or not isinstance(maker, Unit) or maker.residual is not None:
        return None
    values = {maker.output, *(chain.output for chain in chains)}
    alone = readers[unit.source] == [unit] and values.isdisjoint(outside)
    if not alone or not all(set(readers[value]) <= set(chains) for value in values - {unit.source}):
        return None
    if (maker.rank, maker.channels_out) != (unit.rank, unit.layer.channels):
        return None
    if not choice.bits_fit(maker.layer, unit.layer):
        return None
    ordered = tuple(sorted(chains, key=lambda chain: max(chain.nodes)))
    intervals = find_intervals(maker, lambda y: choice.follow(ordered, maker.output, y), unit.threshold)
    return (
        None
        if intervals is None
        else Curve(ordered, unit, replace(unit, source=maker.output, curve=ordered), maker.output, intervals)
    )
