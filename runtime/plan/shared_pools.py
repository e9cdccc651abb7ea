"""Units that pack the same pool of the same value: the value is pooled once, and each packs what is left of it.

::

    x ─ [chain] ─ MaxPool ─┬─ Binarize ─ layer             x ─ Pool ─┬─ pack ─ layer        a quarter of the floats,
                           └─ Binarize ─ layer   becomes             └─ pack ─ layer        or less, to pack again

A chain before the pool is in the thresholds of the units (before.py), so what is pooled is what the chain reads.
"""

from collections.abc import Sequence
from dataclasses import replace

from ..intake.windows import Window
from .graph import Graph
from .pool import Pool, PoolOf
from .units import Unit, pool_before

__all__ = ["share_pools"]


def share_pools(graph: Graph, units: Sequence[Unit]) -> tuple[list[Unit], list[Pool]]:
    """Return the units, those that pooled alike with the value that a pool makes as their source, and new pools.

    Where the file has a node that makes this value, it stays that node's.
    """
    alike: dict[tuple[str, Window | None], list[Unit]] = {}
    for unit in units:
        if unit.pools_floats and not unit.threshold.falling.any():
            alike.setdefault((unit.source, unit.pool), []).append(unit)
    pools: list[Pool] = []
    pooled: dict[Unit, str] = {}
    for (source, window), group in alike.items():
        if len(group) < 2 or window is None:
            continue
        found = [name for name in _outputs(graph, source) if pool_before(graph, name) == (source, window)]
        if not found and (node := _only_pool(graph, group)) is not None:
            channels = group[0].layer.channels
            name = f"{graph.nodes[node].output[0]}·before"
            of = PoolOf(source, window, mean=False, inside=True)
            pools.append(Pool(str(graph.nodes[node].name or name), name, channels, of, (node,), ("MaxPool",)))
            found = [name]
        pooled |= dict.fromkeys(group, found[0]) if found else {}
    return [_behind(unit, pooled[unit]) if unit in pooled else unit for unit in units], pools


def _behind(unit: Unit, source: str) -> Unit:
    return replace(unit, source=source, pool=None, pools_floats=False, ops=unit.ops[unit.ops[0] == "MaxPool" :])


def _outputs(graph: Graph, name: str) -> list[str]:
    return [str(output) for reader in graph.consumers.get(name, []) for output in graph.nodes[reader].output]


def _only_pool(graph: Graph, group: Sequence[Unit]) -> int | None:
    """Return the one pool before these units, by index, if nobody else reads what it makes or the signs of that."""
    pools: set[int | None] = set()
    for unit in group:
        signs = graph.producer[unit.layer.input]
        pool = graph.producer.get(graph.nodes[signs].input[0])
        pools.add(pool if pool is not None and graph.nodes[pool].op_type == "MaxPool" else None)
    if len(pools) != 1 or (pool := pools.pop()) is None:
        return None
    made = [str(graph.nodes[pool].output[0])]
    made += _outputs(graph, made[0])
    readers = {reader for name in made[1:] for reader in graph.consumers.get(name, [])}
    mine = {node for unit in group for node in unit.nodes}
    return pool if readers <= mine and graph.outputs.isdisjoint(made) else None
