"""Which float operators our kernels run: those that stand between parts, so that the graph is cut into few segments.

A value is *native* where a part makes it. An operator that can be a stage of a chain, a mean, a move of channels or of
pixels, a layer normalization, an alias, a dense layer or a view of rows is adopted where it only continues what is
native already: all that it reads is native, or all its readers are and, unless it reads one value alone or is a dense
layer of rows that the caller feeds, some of what it reads. What neither begins nor ends at a part stays with
onnxruntime, which may fuse it with its neighbours.
"""

from collections.abc import Mapping, Sequence

from ..intake.model import Model
from .alias import Alias, match_alias
from .chain import FUSED_BY_ENGINE, Chain, Stage, match_stage
from .graph import Graph, read_values
from .layouts import Layout, Layouts
from .linear import Linear, match_linear
from .mean import Mean, match_mean
from .norm import Norm, match_norm
from .parts import Part
from .pool import Pool, PoolOf, match_pool
from .regroup import Regroup
from .route import Move, Route, channels_of, compose, is_straight, match_move
from .units import Unit
from .upsample import Upsample, UpsampleOf, match_upsample
from .view import View, match_view

__all__ = ["find_natives"]

_Found = Stage | Move | PoolOf | UpsampleOf | Mean | Linear | View | Norm | Alias | Regroup
"""What makes a value: a stage of a chain, a move of channels, a pool, nearest upsampling, or a part of its own."""


def find_natives(model: Model, graph: Graph, parts: Sequence[Part], *, products: bool) -> list[Part]:
    """Return chains, routes, means, views and, with ``products``, dense layers around ``parts``, all other parts."""
    finder = _Finder(model, graph, parts, products)
    adopted = finder.adopt()
    return [*finder.chains(adopted), *finder.others(adopted), *finder.pools(adopted), *finder.routes(adopted)]


class _Finder:
    """The values that somebody needs, who reads them, and what could make them natively."""

    def __init__(self, model: Model, graph: Graph, parts: Sequence[Part], products: bool) -> None:
        self._model, self._graph, self._products = model, graph, products
        self._made = {part.output for part in parts}
        self._fed = {info.name for info in model.proto.graph.input}
        self._layouts = Layouts(model, graph, parts)
        self._for_parts = {name for part in parts for name in part.reads}
        self._read_as = {(name, part.rank) for part in parts for name in part.reads}
        self._as_floats = {name for part in parts for name in part.reads[isinstance(part, Unit) :]}
        """What parts read, other than to pack it."""
        covered = {index for part in parts for index in part.nodes}
        self._found: dict[str, _Found] = {}
        self._readers: dict[str, set[str]] = {}
        """By value the values that are made of it; ``""`` stands for a node that stays float."""
        self._stay: set[int] = set()
        waiting, seen = [*graph.outputs, *self._for_parts], set[str]()
        while waiting:
            name = waiting.pop()
            index = graph.producer.get(name)
            if name in seen or index is None or index in covered or name in model.constants:
                continue
            seen.add(name)
            found = self._match(name)
            if found is None:
                self._stay.add(index)
                reads, reader = read_values(graph.nodes[index]), ""
            else:
                self._found[name] = found
                reads, reader = list(found.reads), name
            for value in reads:
                self._readers.setdefault(value, set()).add(reader)
            waiting += reads

    def _match(self, name: str) -> _Found | None:
        layout, index = self._layouts.of(name), self._graph.producer[name]
        if layout is None or any((name, rank) in self._read_as for rank in {2, 3, 4} - {layout.rank}):
            return None
        rank, channels = size = layout.rank, layout.channels
        found: _Found | None = match_stage(self._model, self._graph.nodes[index], channels, rank, self._layouts.alike)
        if isinstance(found, Stage) and found.other is None and rank == 4 > self._layouts.axes(name):
            return None  # constants of [N, C, T] are others than those of images
        found = found or self._of_its_own(name, layout)
        if found is None and rank == 4:
            node = self._graph.nodes[index]
            found = match_pool(node) or match_move(self._model, self._graph, name)
            found = found or match_upsample(self._model, self._graph, node)
        if found is None or (not isinstance(found, Linear) and self._reads_fed_rows(found)):
            return None  # rows that the caller feeds lie elsewhere at each run
        sizes = {self._layouts.size(value) for value in found.reads}
        if isinstance(found, (Alias, Regroup)):
            return found
        # A stage has as many channels as it reads: one channel that is spread over several is no work of ours.
        if isinstance(found, (Stage, Norm)):
            return found if sizes == {size} else None
        if isinstance(found, Linear):
            return found if sizes == {(2, found.weight.shape[0])} and channels == found.weight.shape[1] else None
        if not isinstance(found, Move):
            return found if sizes == {(4, channels)} else None
        return found if all(one is not None and one[0] == 4 for one in sizes) else None

    def _of_its_own(self, name: str, layout: Layout) -> Mean | Linear | View | Norm | Alias | Regroup | None:
        """Return what makes a value as a part of its own."""
        index, (rank, channels) = self._graph.producer[name], (layout.rank, layout.channels)
        found: Mean | Linear | View | Norm | Alias | Regroup | None = match_norm(self._model, index, name, layout)
        if rank != 3:
            found = found or match_mean(self._model, index, rank, channels)
        if rank == 2 and found is None:
            found = match_linear(self._model, index) if self._products else None
            found = found or match_view(self._model, self._graph, index, channels)
        return found or match_alias(self._model, self._graph, self._layouts, name)

    def _reads_fed_rows(self, found: _Found) -> bool:
        return any(value in self._fed and self._layouts.rank(value) != 4 for value in found.reads)

    def adopt(self) -> set[str]:
        """Return the values that are made natively."""
        adopted: set[str] = set()
        order = sorted(self._found, key=lambda name: self._graph.producer[name])
        while True:
            before = len(adopted)
            for name in order:
                if all(self._native(value, adopted) for value in self._found[name].reads):
                    adopted.add(name)
            for name in reversed(order):
                native = [self._native(value, adopted) for value in self._found[name].reads]
                alone = self._is_alone(name) or self._of_the_caller(name)
                if (alone or any(native)) and self._only_for_natives(name, adopted):
                    adopted.add(name)
            if len(adopted) == before:
                return adopted

    def _is_alone(self, name: str) -> bool:
        """Tell whether an operator is better run here though nothing that it reads is native, if all its readers are.

        A pool that onnxruntime does is small when it crosses, and few values of it remain; what only is packed was
        pooled in packing, and is pooled at once.
        """
        found = self._found[name]
        if isinstance(found, PoolOf):
            return not found.mean and name not in self._as_floats and not self._readers.get(name)
        return isinstance(found, (Stage, Norm, Alias, Regroup)) and len(found.reads) == 1

    def _native(self, name: str, adopted: set[str]) -> bool:
        return name in self._made or name in adopted

    def _of_the_caller(self, name: str) -> bool:
        """Tell whether a value is made by a dense layer of rows that the caller feeds."""
        found = self._found.get(name)
        return isinstance(found, Linear) and found.source in self._fed

    def _only_for_natives(self, name: str, adopted: set[str]) -> bool:
        """Tell whether parts and adopted operators alone read a value that onnxruntime would not make in passing.

        The caller may read it too: an output of the model is turned once, whoever makes it.
        """
        index = self._graph.producer[name]
        if index in self._stay or len(self._graph.nodes[index].output) > 1:
            return False
        readers = self._readers.get(name, set())
        if not readers <= adopted or not (readers or name in self._for_parts):
            return False
        if self._graph.nodes[index].op_type not in FUSED_BY_ENGINE:
            return True
        source = self._found[name].reads[0]
        maker = self._graph.producer.get(source)
        behind = maker is not None and self._graph.nodes[maker].op_type in ("Conv", "Gemm", "MatMul")
        return not behind or self._of_the_caller(source)

    def chains(self, adopted: set[str]) -> list[Part]:
        """Return the chains, each as long as nobody else reads what is between its stages."""
        stages = {name: found for name in adopted if isinstance(found := self._found[name], Stage)}
        taken: set[str] = set()
        chains: list[Part] = []
        for name in sorted(stages, key=lambda name: self._graph.producer[name]):
            if name in taken:
                continue
            row, made = [name], [stages[name]]
            while (after := self._next(row[-1], stages)) is not None and after not in taken:
                made.append(stages[after].reading(row[-1]))
                row.append(after)
            taken.update(row)
            nodes = tuple(self._graph.producer[value] for value in row)
            last = self._graph.nodes[nodes[-1]]
            rank, channels = self._layouts.size(row[-1]) or (0, 0)
            chains.append(
                Chain(
                    name=str(last.name or last.output[0]),
                    output=row[-1],
                    rank=rank,
                    channels=channels,
                    stages=tuple(made),
                    nodes=nodes,
                    ops=tuple(self._graph.nodes[node].op_type for node in nodes),
                )
            )
        return chains

    def _next(self, name: str, stages: Mapping[str, Stage]) -> str | None:
        """Return the value that a further stage of the chain up to ``name`` makes."""
        readers = self._readers.get(name, set())
        if len(readers) != 1 or name in self._for_parts or name in self._graph.outputs:
            return None
        after = next(iter(readers))
        return after if after in stages and stages[after].may_read(name) else None

    def others(self, adopted: set[str]) -> list[Part]:
        """Return what is a part by itself: means, dense layers, normalizations and what moves no channel."""
        found = [self._found[name] for name in sorted(adopted, key=lambda name: self._graph.producer[name])]
        return [one for one in found if not isinstance(one, (Stage, Move, PoolOf, UpsampleOf))]

    def pools(self, adopted: set[str]) -> list[Part]:
        """Return the pools, and what is upsampled."""
        pools: list[Part] = []
        for name in sorted(adopted, key=lambda name: self._graph.producer[name]):
            index, found = self._graph.producer[name], self._found[name]
            node, channels = self._graph.nodes[index], channels_of(self._model, name) or 0
            if isinstance(found, PoolOf):
                pools.append(Pool(str(node.name or name), name, channels, found, (index,), (node.op_type,)))
            elif isinstance(found, UpsampleOf):
                pools.append(Upsample(str(node.name or name), name, channels, found, (index,), (node.op_type,)))
        return pools

    def routes(self, adopted: set[str]) -> list[Part]:
        """Return a route for each moved value that others read than moves that take its channels themselves."""
        moves: dict[str, Move] = {}
        routes: list[Part] = []
        for name in sorted(adopted, key=lambda name: self._graph.producer[name]):
            found = self._found[name]
            if not isinstance(found, Move):
                continue
            move = compose(found, moves)
            if self._is_between(name, found, adopted):
                moves[name] = move
                continue
            if is_straight(found):
                moves[name] = move
            index = self._graph.producer[name]
            node, sizes = self._graph.nodes[index], tuple(channels_of(self._model, root) or 0 for root in move.reads)
            routes.append(Route(str(node.name or name), name, move, sizes, (index,), (node.op_type,)))
        return routes

    def _is_between(self, name: str, found: Move, adopted: set[str]) -> bool:
        """Tell whether a moved value is never made, as further moves alone read it and take its channels themselves.

        What shuffles is made, once and whole, unless the next move shuffles again: to take a few channels out of
        shuffle behind shuffle is slower than to take them where they lie side by side at last.
        """
        readers = self._readers.get(name, set())
        if name in self._for_parts or name in self._graph.outputs or not readers <= adopted:
            return False
        moves = [reader for one in readers if isinstance(reader := self._found[one], Move)]
        return len(moves) == len(readers) and (is_straight(found) or not any(map(is_straight, moves)))
