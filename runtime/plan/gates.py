"""Gates before a Binarize that vanish: the unit multiplies by them as it packs.

::

    x ─ [Mul gate] ─ Binarize ─► unit          becomes          x · gate ≥ threshold ─► unit

A gate is one number per image and channel, as squeeze-and-excite has it. The product is rounded as in the file, and
compared instead of being stored and read again.
"""

from dataclasses import replace

from ..layout.float_words import ChainOp
from .chain import Chain
from .units import Unit
from .wiring import Replacements, Wiring

__all__ = ["find_gates"]


def find_gates(wiring: Wiring) -> Replacements:
    """Return units that take a gate along, in the place of those that read a chain which ends with it.

    The chain is gone, or ends before the gate.
    """
    replaced: Replacements = {}
    for unit in wiring.made.values():
        if not isinstance(unit, Unit) or unit.rank != 4 or unit.pool is not None or unit.copies > 1:
            continue
        chain = wiring.made.get(unit.source)
        if not isinstance(chain, Chain) or wiring.readers[unit.source] != [unit] or unit.source in wiring.outside:
            continue
        last = chain.stages[-1]
        if last.op is ChainOp.MULTIPLY and last.gate and not unit.threshold.falling.any():
            replaced[unit] = replace(unit, source=last.source, gate=last.other)
            replaced[chain] = _without_last(chain)
    return replaced


def _without_last(chain: Chain) -> Chain | None:
    """Return the chain without its last stage."""
    if len(chain.stages) == 1:
        return None
    return replace(
        chain, output=chain.stages[-1].source, stages=chain.stages[:-1], nodes=chain.nodes[:-1], ops=chain.ops[:-1]
    )
