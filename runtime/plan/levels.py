"""The levels of a graph: float nodes, parts over images and parts over rows stand on levels of their own, by turns.

Each stands as early as its inputs allow: float nodes on levels 0, 3, 6, …, images on 1, 4, 7, …, rows on 2, 5, 8, ….

What stands on one level runs in one segment, so a graph has as few changes between onnxruntime and the kernels as its
longest path has::

    level 0 float     level 1 images        level 3 float            level 4 images
    stem  ──────────► unit ─► unit ───────► average pool, 1×1 conv ─► unit ─► unit ─► …
            NHWC            packed bits               NHWC
"""

from collections.abc import Collection, Sequence

from ..errors import ModelError
from ..intake.model import Model
from .graph import Graph, read_values
from .parts import Part

__all__ = ["Levels", "needed_floats"]

_FLOATS, _IMAGES, _ROWS, _KINDS = 0, 1, 2, 3


class Levels:
    """Where everything stands, for parts in order of execution.

    ``floats`` are the nodes for onnxruntime, in the order of the file, and ``reads`` what each of them reads, constants
    left out. ``of_node``, ``of_part`` and ``of_value`` are levels; constants and inputs of the model are on level 0.

    Raises ModelError where a value is read before it is made.
    """

    def __init__(self, model: Model, graph: Graph, parts: Sequence[Part]) -> None:
        self.outputs = [info.name for info in model.proto.graph.output]
        self.inputs = {info.name for info in model.proto.graph.input} - set(model.constants)
        self.reads = needed_floats(model, graph, parts)
        self.floats = sorted(self.reads)
        self.of_node: dict[int, int] = {}
        self.of_part: dict[Part, int] = {}
        self.of_value: dict[str, int] = dict.fromkeys([*self.inputs, *model.constants], 0)
        order: list[tuple[int, Part | None]] = [(index, None) for index in self.floats]
        order += [(max(part.nodes), part) for part in parts]
        for index, part in sorted(order, key=lambda entry: entry[0]):  # a file is sorted
            if part is None:
                level = max((self._seen(name, _FLOATS) for name in self.reads[index]), default=0)
                self.of_node[index] = level
                self.of_value.update(dict.fromkeys(graph.nodes[index].output, level))
            else:
                kind = _IMAGES if part.rank == 4 else _ROWS
                level = max([kind, *(self._seen(name, kind) for name in part.reads)])
                self.of_part[part] = level
                self.of_value[part.output] = level

    def handed_out(self, name: str) -> int:
        """Return the level of the float segment that gives the caller a value."""
        return self._seen(name, _FLOATS)

    def _seen(self, name: str, kind: int) -> int:
        """Return the earliest level of a reader of ``name``, of this kind."""
        if name not in self.of_value:
            raise ModelError(f"value {name} is read before it is made; the nodes of a file must be sorted")
        return self.of_value[name] + (kind - self.of_value[name]) % _KINDS


def needed_floats(model: Model, graph: Graph, parts: Collection[Part]) -> dict[int, list[str]]:
    """Return what each node reads that no part covers and somebody needs, walking back from the outputs and parts."""
    covered = {index for part in parts for index in part.nodes}
    waiting = [*graph.outputs, *(name for part in parts for name in part.reads)]
    needed: dict[int, list[str]] = {}
    while waiting:
        index = graph.producer.get(waiting.pop())
        if index is None or index in covered or index in needed:
            continue
        if graph.nodes[index].output[0] not in model.constants:
            needed[index] = [name for name in read_values(graph.nodes[index]) if name not in model.constants]
            waiting += needed[index]
    return needed
