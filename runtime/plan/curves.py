"""Chains between two units that keep no order and vanish all the same: the first unit writes the bits behind them.

::

    unit ─ [HardSwish, or x · Sigmoid(x), …] ─ Binarize ─► unit          becomes           unit ═ bits ═► unit

That needs a chain of one value alone, a unit whose floats nobody else reads, and one unit that reads the chain. What
the bits are, :mod:`.intervals` finds; where they change too often, everything stays as it is.
"""

from dataclasses import replace
from functools import partial

from .chain import Chain
from .intervals import Intervals, find_intervals
from .parts import Choice
from .units import Unit
from .wiring import Replacements, Wiring

__all__ = ["find_curves"]


def find_curves(wiring: Wiring, choice: Choice) -> tuple[Replacements, dict[str, Intervals]]:
    """Return units that take bits where they read a chain, in the place of both; and by value the bits they take."""
    replaced: Replacements = {}
    found: dict[str, Intervals] = {}
    for unit in wiring.made.values():
        if not isinstance(unit, Unit) or (span := _span(wiring, unit)) is None:
            continue
        maker, chains = span
        if not choice.bits_fit(maker.layer, unit.layer):
            continue
        intervals = find_intervals(maker, partial(choice.follow, chains, maker.output), unit.threshold)
        if intervals is not None:
            found[maker.output] = intervals
            replaced[unit] = replace(unit, source=maker.output, curve=chains)
            replaced.update((chain, None) for chain in chains)
    return replaced, found


def _span(wiring: Wiring, unit: Unit) -> tuple[Unit, tuple[Chain, ...]] | None:
    """Return the unit that alone makes what a unit reads, and the chains between the two, in order."""
    chains, waiting, roots = set[Chain](), [unit.source], set[str]()
    while waiting:
        part = wiring.made.get(name := waiting.pop())
        if not isinstance(part, Chain):
            roots.add(name)
        elif part not in chains:
            chains.add(part)
            waiting += part.reads
    maker = wiring.made.get(roots.pop())
    if roots or not chains or not isinstance(maker, Unit) or unit.pool is not None or unit.copies > 1:
        return None
    between = {maker.output, *(chain.output for chain in chains)} - {unit.source}
    alone = wiring.readers[unit.source] == [unit] and unit.source not in wiring.outside
    if not alone or not all(wiring.only_for(value, chains) for value in between):
        return None
    if (maker.rank, maker.channels_out) != (unit.rank, unit.layer.channels):
        return None
    return maker, tuple(sorted(chains, key=lambda chain: max(chain.nodes)))
