"""The levels of a graph: a float node stands on an even level, a part on an odd one, each as early as its inputs allow.

What stands on one level runs in one segment, so a graph has as few changes between onnxruntime and the kernels as its
longest path has::

    level 0 float     level 1 binary        level 2 float            level 3 binary
    stem  ──────────► unit ─► unit ───────► average pool, 1×1 conv ─► unit ─► unit ─► …
            NHWC            packed bits               NHWC
"""

from collections.abc import Collection, Sequence

from ..errors import ModelError
from ..intake.model import Model
from .graph import Graph, read_values
from .parts import Part

__all__ = ["Levels", "needed_floats"]


class Levels:
    """Where everything stands, for parts in order of execution.

    ``floats`` are the nodes for onnxruntime, in the order of the file, and ``reads`` what each of them reads, constants
    left out. ``of_node``, ``of_part`` and ``of_value`` are levels; constants and inputs of the model are on level 0.

    Raises ModelError where a value is read before it is made.
    """

    def __init__(self, model: Model, graph: Graph, parts: Sequence[Part]) -> None:
        self._made = {part.output for part in parts}
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
                level = max((self._seen(name, by_part=False) for name in self.reads[index]), default=0)
                self.of_node[index] = level
                self.of_value.update(dict.fromkeys(graph.nodes[index].output, level))
            else:
                level = max([1, *(self._seen(name, by_part=True) for name in part.reads)])
                self.of_part[part] = level
                self.of_value[part.output] = level

    def _seen(self, name: str, *, by_part: bool) -> int:
        """Return the earliest level of a reader of ``name``."""
        if name not in self.of_value:
            raise ModelError(f"value {name} is read before it is made; the nodes of a file must be sorted")
        return self.of_value[name] + ((name in self._made) != by_part)


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
