"""Chains before a Binarize that vanish: a unit packs what they read, by the threshold that gives the same bits.

::

    x ─ [Mul γ] ─ [Add β] ─ [PRelu] ─ [MaxPool] ─ [Sub t] ─ Binarize ─► layer     becomes        x · turn ≥ u ─► layer

Who else reads the chain, as a residual say, still gets its floats. Where a kernel makes x, it writes the bits in
passing.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np
import onnx

from ..bits import DOMAIN
from ..intake.model import Model
from ..layout.float_words import ChainOp
from .chain import Stage, match_stage
from .graph import Graph
from .monotone import find_threshold
from .route import channels_of
from .units import Unit, pool_before

__all__ = ["take_chains"]

_LOOKED_AT = 16
"""Nodes behind a value that are looked at before it is said to be read by others."""


def take_chains(
    model: Model, graph: Graph, units: Sequence[Unit], covered: Collection[int], made: Collection[str]
) -> list[Unit]:
    """Return the units, each with the chain before its Binarize in its threshold, as far as that can be.

    ``covered`` are the nodes of parts, which stay as they are, and ``made`` the values that parts make: a chain that
    others read too is passed only up to one of them.
    """
    return [_reaching_back(model, graph, unit, covered, made) for unit in units]


def _reaching_back(model: Model, graph: Graph, unit: Unit, covered: Collection[int], made: Collection[str]) -> Unit:
    best, alone = unit, True
    while (maker := graph.producer.get(unit.source)) is not None and maker not in covered:
        alone = alone and _only_for_signs(graph, unit.source, covered)
        before = _before_stage(model, graph.nodes[maker], unit)
        if before is None and alone:
            before = _before_pool(graph, unit)
        if before is None:
            break
        unit = before
        if alone or unit.source in made:
            best = unit
    return best


def _before_stage(model: Model, node: onnx.NodeProto, unit: Unit) -> Unit | None:
    """Return the unit with the stage before it, a node, in its threshold."""
    channels = unit.layer.channels // unit.copies
    stage = match_stage(model, node, channels, unit.rank)
    if stage is None or {channels_of(model, name, unit.rank) for name in (stage.source, unit.source)} != {channels}:
        return None
    if unit.pools_floats and stage.op is ChainOp.PRELU and stage.first is not None and not stage.first.all():
        return None  # it makes a NaN of −∞, and the pool would not see that
    threshold = find_threshold(_repeated(stage, unit.copies), unit.threshold)
    if threshold is None or (unit.pool is not None and not unit.pools_floats and np.isneginf(threshold.value).any()):
        return None  # a threshold that all but NaN reach, see _before in units.py
    return replace(unit, source=stage.source, threshold=threshold)


def _before_pool(graph: Graph, unit: Unit) -> Unit | None:
    """Return the unit with the pool before it; where a bit falls with the maximum, it is no bit of any value there."""
    source, pool = pool_before(graph, unit.source)
    if pool is None or unit.pool is not None or unit.copies > 1 or unit.threshold.falling.any():
        return None
    return replace(unit, source=source, pool=pool, pools_floats=True)


def _repeated(stage: Stage, copies: int) -> Stage:
    first, second = (None if value is None else np.tile(value, copies) for value in (stage.first, stage.second))
    return replace(stage, first=first, second=second)


def _only_for_signs(graph: Graph, name: str, covered: Collection[int]) -> bool:
    """Tell whether all that is made of a value, by pools and operators on each element, ends at a Binarize.

    A part that reads it, as its residual, needs its floats.
    """
    waiting, seen = [name], set[str]()
    while waiting:
        value = waiting.pop()
        if value in graph.outputs or len(seen) > _LOOKED_AT:
            return False
        seen.add(value)
        for reader in graph.consumers.get(value, []):
            node = graph.nodes[reader]
            if node.domain != DOMAIN:
                if reader in covered or node.op_type not in _PASSED:
                    return False
                waiting += [output for output in node.output if output not in seen]
    return True


_PASSED = frozenset(
    {"Add", "Clip", "Concat", "Div", "HardSigmoid", "LeakyRelu", "MaxPool", "Mul", "PRelu", "Relu", "Sub"}
)
