"""A route: Concat, Split, Slice and shuffles over the channels of NHWC values, composed to one move of channels.

::

    a ─┐                                                        ┌─► first half ──► ·
       Concat ─ Reshape [N, 2, C/2, H, W] ─ Transpose ─ Reshape ┤
    b ─┘                                                        └─► second half ─► a unit      one route, from a and b

What nobody reads but other moves is never made: each route reads values that something else computes.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
import onnx
from numpy.typing import NDArray

from ..intake.model import Model
from ..operators import STANDARD_DOMAINS
from .graph import Graph

__all__ = ["Move", "Route", "channels_of", "compose", "is_straight", "match_move", "runs", "size_of"]


@dataclass(frozen=True, eq=False)
class Move:
    """Channels of values, by name: channel i of the result is channel ``channel[i]`` of ``reads[which[i]]``."""

    reads: tuple[str, ...]
    which: NDArray[np.int64]
    channel: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Route:
    """A move of channels as one part; ``sizes`` are the channels of what it reads."""

    kind: ClassVar[str] = "float"
    rank: ClassVar[int] = 4

    name: str
    output: str
    move: Move
    sizes: tuple[int, ...]
    nodes: tuple[int, ...]
    ops: tuple[str, ...]

    @property
    def reads(self) -> tuple[str, ...]:
        """The values whose channels it moves."""
        return self.move.reads

    @property
    def straight(self) -> bool:
        """Whether channels that lie side by side go side by side."""
        return is_straight(self.move)

    @property
    def slices(self) -> bool:
        """Whether it only takes neighbouring channels of one value."""
        return self.straight and len(runs(self.move)) == 1


def is_straight(move: Move) -> bool:
    """Tell whether a move takes channels that lie side by side and puts them side by side."""
    return all(count == 1 or (step, target_step) == (1, 1) for _, _, step, _, target_step, count in runs(move))


def compose(move: Move, inner: Mapping[str, Move]) -> Move:
    """Return the move that takes channels from where ``inner`` takes those that ``move`` reads, by name."""
    names: dict[str, int] = {}
    which, channel = np.empty_like(move.which), np.empty_like(move.channel)
    for place, name in enumerate(move.reads):
        mine = np.flatnonzero(move.which == place)
        wanted, found = move.channel[mine], inner.get(name)
        if found is None:
            which[mine], channel[mine] = names.setdefault(name, len(names)), wanted
            continue
        for index, root in enumerate(found.reads):
            taken = found.which[wanted] == index
            if taken.any():
                which[mine[taken]] = names.setdefault(root, len(names))
        channel[mine] = found.channel[wanted]
    return Move(tuple(names), which, channel)


def match_move(model: Model, graph: Graph, name: str) -> Move | None:
    """Return what the node that makes a value of rank 4 does with channels, None for what does more or cannot be told.

    What it ``reads`` may lie several nodes back: a shuffle is a Reshape, a Transpose and a Reshape.
    """
    node = graph.nodes[graph.producer[name]]
    match = _MATCH.get(node.op_type) if node.domain in STANDARD_DOMAINS else None
    try:
        return None if match is None else match(model, graph, node, name)
    except (ValueError, IndexError, KeyError, OverflowError):  # an attribute or an input that is not there, or is odd
        return None


def channels_of(model: Model, name: str, rank: int = 4) -> int | None:
    """Return the channels of a float32 value of this rank, None where they are not known."""
    size = size_of(model, name)
    return size[1] if size is not None and size[0] == rank else None


def size_of(model: Model, name: str) -> tuple[int, int] | None:
    """Return the rank, 4 or 2, and the channels of a float32 value; None for any other, or where they are not known."""
    known = model.types.get(name)
    if known is None or known.elem != onnx.TensorProto.FLOAT or known.shape is None or len(known.shape) not in (2, 4):
        return None
    return (len(known.shape), known.shape[1]) if isinstance(known.shape[1], int) else None


def _known(model: Model, name: str) -> int:
    channels = channels_of(model, name)
    if channels is None:
        raise ValueError(name)
    return channels


def _given(node: onnx.NodeProto) -> dict[str, Any]:
    return {entry.name: onnx.helper.get_attribute_value(entry) for entry in node.attribute}


def _part(name: str, channels: NDArray[np.int64]) -> Move:
    return Move((name,), np.zeros(len(channels), np.int64), channels)


def _concat(model: Model, graph: Graph, node: onnx.NodeProto, name: str) -> Move | None:
    if _given(node)["axis"] not in (1, -3):
        return None
    sizes = [_known(model, source) for source in node.input]
    sources = tuple(dict.fromkeys(str(source) for source in node.input))
    which = np.repeat([sources.index(source) for source in node.input], sizes)
    return Move(sources, which, np.concatenate([np.arange(size) for size in sizes]))


def _split(model: Model, graph: Graph, node: onnx.NodeProto, name: str) -> Move | None:
    given, source = _given(node), str(node.input[0])
    channels, count, place = _known(model, source), len(node.output), list(node.output).index(name)
    if given.get("axis", 0) not in (1, -3):
        return None
    if len(node.input) > 1 and node.input[1]:  # only a constant says it: a type in the file is a claim
        sizes = model.constants[node.input[1]].reshape(-1).tolist()
    else:
        each = -(-channels // count)
        sizes = list(given.get("split", [*[each] * (count - 1), channels - each * (count - 1)]))
    if len(sizes) != count or min(sizes) < 1 or sum(sizes) != channels or sizes[place] != _known(model, name):
        return None
    first = sum(sizes[:place])
    return _part(source, np.arange(first, first + sizes[place]))


def _of_sequence(model: Model, graph: Graph, node: onnx.NodeProto, name: str) -> Move | None:
    """Match SequenceAt behind SplitToSequence, as torch's exporter writes ``chunk`` and ``split``."""
    split = graph.nodes[graph.producer[node.input[0]]]
    if split.op_type != "SplitToSequence" or _given(split).get("axis", 0) not in (1, -3):
        return None
    if not _given(split).get("keepdims", 1) and len(split.input) < 2:
        return None
    source, index = str(split.input[0]), int(model.constants[node.input[1]].reshape(-1)[0])
    channels = _known(model, source)
    sizes = model.constants[split.input[1]] if len(split.input) > 1 else np.array(1)
    starts = np.cumsum(sizes) - sizes if sizes.ndim else np.arange(0, channels, int(sizes))
    borders = np.append(starts, np.sum(sizes) if sizes.ndim else channels)
    count = len(borders) - 1
    if not -count <= index < count or borders[-1] != channels:
        return None
    return _part(source, np.arange(borders[index % count], borders[index % count + 1]))


def _slice(model: Model, graph: Graph, node: onnx.NodeProto, name: str) -> Move | None:
    values = [model.constants[given].reshape(-1) if given else None for given in node.input[1:]]
    starts, ends = values[:2]
    axes = values[2] if len(values) > 2 else None
    steps = values[3] if len(values) > 3 else None
    if starts is None or ends is None or len(starts) != 1 or axes is None or axes.tolist() not in ([1], [-3]):
        return None
    step = 1 if steps is None else int(steps[0])
    chosen = np.arange(_known(model, node.input[0]))[int(starts[0]) : int(ends[0]) : step]
    return _part(str(node.input[0]), chosen) if step > 0 and len(chosen) == _known(model, name) else None


def _shuffle(model: Model, graph: Graph, node: onnx.NodeProto, name: str) -> Move | None:
    """Match the last Reshape of ``[N, C, H, W] → [N, …, H, W] → transposed inside … → [N, C, H, W]``."""
    turn = graph.nodes[graph.producer[node.input[0]]]
    first = graph.nodes[graph.producer[turn.input[0]]]
    if (turn.op_type, first.op_type) != ("Transpose", "Reshape"):
        return None
    if first.input[1] not in model.constants or node.input[1] not in model.constants:
        return None  # the types between are then what the file claims
    source = str(first.input[0])
    shapes = [model.types[value].shape for value in (source, first.output[0], turn.output[0], name)]
    outer, split, turned, again = (tuple(shape or ()) for shape in shapes)
    perm, middle = tuple(_given(turn)["perm"]), len(split) - 3
    inner = [size for size in split[1:-2] if isinstance(size, int)]
    fits = outer == again and len(outer) == 4 and middle >= 1 and None not in (*outer, *split, *turned)
    fits = fits and (split[0], *split[-2:]) == (outer[0], *outer[-2:]) == (turned[0], *turned[-2:])
    sides = perm[:1] == (0,) and perm[-2:] == (middle + 1, middle + 2) and len(perm) == middle + 3
    if not (fits and sides) or len(inner) != middle or math.prod(inner) != _known(model, source):
        return None
    channels = np.arange(_known(model, source)).reshape(inner)
    return _part(source, channels.transpose([axis - 1 for axis in perm[1:-2]]).reshape(-1))


_Match = Callable[[Model, Graph, onnx.NodeProto, str], Move | None]
_MATCH: Mapping[str, _Match] = MappingProxyType(
    {"Concat": _concat, "Reshape": _shuffle, "SequenceAt": _of_sequence, "Slice": _slice, "Split": _split}
)


def runs(move: Move) -> Sequence[tuple[int, int, int, int, int, int]]:
    """Return a move as few runs ``(which, first, step, target, target step, count)``.

    A run is of neighbours in the result, or, in a move that interleaves k values evenly, of every k-th channel.
    """
    total = len(move.which)
    best: list[tuple[int, int, int, int, int, int]] = []
    for stride in (1, *(k for k in range(2, 9) if total % k == 0)):
        found = []
        for turn in range(stride):
            targets = np.arange(turn, total, stride)
            found += _neighbours(move.which[targets], move.channel[targets], turn, stride)
        if not best or len(found) < len(best):
            best = found
    return best


def _neighbours(
    which: NDArray[np.int64], channel: NDArray[np.int64], target: int, stride: int
) -> list[tuple[int, int, int, int, int, int]]:
    """Return the runs of a sequence that goes to ``target``, ``target + stride``, …"""
    found, begin = [], 0
    while begin < len(which):
        end = begin + 1
        step = int(channel[end] - channel[begin]) if end < len(which) and which[end] == which[begin] else 1
        while end < len(which) and which[end] == which[begin] and channel[end] - channel[end - 1] == step:
            end += 1
        entry = (int(which[begin]), int(channel[begin]), step, target + begin * stride, stride, end - begin)
        found.append(entry)
        begin = end
    return found
