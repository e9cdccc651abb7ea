"""The ±1 form of an activation (:mod:`.signs`), through operators that move or select its signs.

:meth:`Activations.read` says whether there is one, without touching the graph; :meth:`Activations.build` adds it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from ...runtime.bits import DOMAIN
from ...runtime.operators import sign_sources
from ..graph.constants import Constants
from .layers import StaysFloat, label, shape_of, told, words_of
from .rewriting import Rewriting
from .signs import Leaf, Signs, leaf_of
from .stairs import Stairs
from .stairs_reader import StairsReader
from .ties import find_tie, is_never_zero

__all__ = ["Activations"]

_IN_PLACE = ("Dropout", "GlobalMaxPool", "Identity", "MaxPool")
"""Operators that treat channel after channel: planes that lie one behind the other on axis 1 go through together."""


class Activations:
    """Reads and builds the ±1 forms of one graph.

    sign_zero: the sign of 0 in ops that give 0 for 0: "plus", "minus", or "keep", which finds no ±1 form there.
    straight_through: take ``hard − soft + soft`` as ``hard``.
    finite: outputs of packed binary layers, which are neither infinite nor NaN.
    never_zero: outputs of packed layers that are provably never 0.
    rounded_zero: outputs of packed layers that can be exactly 0. The source adds rounded products, whose rounding may
    turn that 0 into a small number, or give a 0 at another place.
    """

    def __init__(
        self, rewriting: Rewriting, constants: Constants, sign_zero: str = "keep", straight_through: bool = False
    ) -> None:
        self._rewriting, self._constants = rewriting, constants
        self._stairs = StairsReader(constants, straight_through=straight_through)
        self._sign_zero = sign_zero
        self._built: dict[tuple[ir.Value, int, bytes], ir.Value] = {}
        self.finite: set[ir.Value] = set()
        self.never_zero: set[ir.Value] = set()
        self.rounded_zero: set[ir.Value] = set()

    def read(self, value: ir.Value) -> Signs:
        """Return the ±1 form of a value; StaysFloat where it has none."""
        node = value.producer()
        if (stairs := self._nearest(value)) is not None:
            return self._from_stairs(value, stairs)
        if node is not None and node.domain == DOMAIN and node.op_type == "Binarize":
            return Signs(value, 1.0, 0.0)  # ours already, with a threshold that is computed
        moved = () if node is None else sign_sources(node.op_type, node.domain, node.inputs, words_of(node))
        sources = [entry for entry in moved if entry is not None]
        if node is None or not sources or (value.index() and node.op_type != "Split"):
            raise StaysFloat(f"its input is real: {self._origin(value)}")
        if node.op_type != "Split" and sum(bool(output.uses()) for output in node.outputs) > 1:
            raise StaysFloat(f"its input comes from {node.op_type} {label(node)}, whose second output is used too")
        return _moved(value, node, tuple(self.read(entry) for entry in sources))

    def _nearest(self, value: ir.Value) -> Stairs | None:
        """Return the stairs of the nearest value that is computed anyway, because something else reads it too."""
        stairs = self._stairs.get(value)
        if stairs is None:
            return None
        for entry in reversed(stairs.through):
            readers = entry.consumers()
            if entry.is_graph_output() or any(self._stairs.get(reader.outputs[0]) is None for reader in readers):
                if all(reader.outputs[0] in stairs.through for reader in readers) and not entry.is_graph_output():
                    continue  # a link of the chain itself
                return self._stairs.behind([entry]).get(value)
        return stairs

    def _from_stairs(self, value: ir.Value, stairs: Stairs) -> Signs:
        source = stairs.source
        if value.dtype not in (None, ir.DataType.FLOAT) or source.dtype not in (None, ir.DataType.FLOAT):
            raise StaysFloat(f"its input is {value.dtype or source.dtype}, not float32")
        never_zero = is_never_zero(source, self.never_zero)
        signs = leaf_of(
            value,
            stairs,
            self._stairs.ranges,
            sign_zero=self._sign_zero,
            never_zero=never_zero,
            finite=source in self.finite,
        )
        assert signs.leaf is not None
        close = bool(np.any(np.abs(signs.leaf.points) < np.finfo(np.float32).tiny))  # 0, or next to it on a chain
        tie = find_tie(source, self.rounded_zero, self._constants) if close else None
        if tie is not None:
            note = f"{tie.name} can be exactly 0 here; the rounding of the source's sum decides such ties there"
            signs = replace(signs, notes=(*signs.notes, note))
        return signs

    def _origin(self, value: ir.Value) -> str:
        node = value.producer()
        if node is None:
            return f"{value.name} is an input of the graph" if value.is_graph_input() else f"{value.name} is a constant"
        if not self._stairs.straight_through and self._stairs.is_straight_through(node):
            return (
                f"x + (sign(x) − x) in {label(node)} is not ±1 in float32; export the sign itself, "
                "or let straight_through take it as the sign"
            )
        training = ", which may be in training mode" if node.op_type == "Dropout" else ""
        return f"it comes from {told(node)}{training}"

    def build(self, signs: Signs, groups: int = 1) -> ir.Value:
        """Add the ±1 form of a value to the graph, right behind the value itself, and return it.

        Of several planes the channels lie one behind the other, within each of ``groups`` groups of channels.
        """
        if signs.planes == 1:
            return self._plane(signs, 0)
        key = (signs.value, -groups, _turns(signs))
        if key not in self._built:
            self._built[key] = self._joined(signs, groups)
        return self._built[key]

    def _joined(self, signs: Signs, groups: int) -> ir.Value:
        node = signs.value.producer()
        assert node is not None
        name, count, channels = label(node), signs.planes, _channels(signs)
        order = np.arange(count * channels).reshape(count, groups, -1).swapaxes(0, 1).reshape(-1)
        if signs.leaf is not None:
            leaf = signs.leaf
            if groups == 1:
                copies = self._after(node, "Concat", [leaf.source] * count, {"axis": 1}, f"{name}.copies", leaf.source)
            else:
                index = self._rewriting.constant(f"{name}.order", order % channels)
                copies = self._after(node, "Gather", [leaf.source, index], {"axis": 1}, f"{name}.copies", leaf.source)
            copies.shape = _wider(leaf.source, count)
            points = leaf.points.reshape(-1, *leaf.points.shape[2:])[None, order]
            flips = leaf.flips.reshape(-1, *leaf.flips.shape[2:])[None, order]
            return self._binarized(node, Leaf(copies, points, flips, leaf.straight), 0, copies)
        if node.op_type in _IN_PLACE and len(signs.parts) == 1:
            inputs = [self.build(signs.parts[0], groups), *node.inputs[1:]]
            joined = self._after(node, node.op_type, inputs, node.attributes, f"{name}.signs", signs.value)
        else:
            planes = [self._plane(signs, plane) for plane in range(count)]
            last = _last(node, planes)
            joined = self._after(last, "Concat", planes, {"axis": 1}, f"{name}.planes", signs.value)
            joined.shape = _wider(signs.value, count)
            if groups != 1:
                index = self._rewriting.constant(f"{name}.order", order)
                joined = self._after(last, "Gather", [joined, index], {"axis": 1}, f"{name}.grouped", signs.value)
        joined.shape = _wider(signs.value, count)
        return joined

    def _plane(self, signs: Signs, plane: int) -> ir.Value:
        """Add one plane of signs, in the shape of the value."""
        key = (signs.value, plane, _turns(signs))
        if key in self._built:
            return self._built[key]
        node = signs.value.producer()
        assert node is not None
        if signs.leaf is not None:
            built = self._binarized(node, signs.leaf, plane, signs.value)
        elif not signs.parts or (signs.plain and all(self._plane(part, 0) is part.value for part in signs.parts)):
            built = signs.value
        else:
            parts = [self._plane(part, plane) for part in signs.parts]
            name, inputs = f"{label(node)}.signs", [*parts, *node.inputs[len(parts) :]]
            if node.op_type == "Split":
                built = self._after(node, "Slice", [*parts, *self._piece(signs.value, node)], {}, name, signs.value)
            else:
                built = self._after(node, node.op_type, inputs, node.attributes, name, signs.value)
        if signs.plain and signs.faithful and built is not signs.value:
            self._rewriting.replace_uses(signs.value, built)
        self._built[key] = built
        self._built[built, 0, b""] = built
        return built

    def _binarized(self, node: ir.Node, leaf: Leaf, plane: int, like: ir.Value) -> ir.Value:
        source, factors, name = leaf.source, leaf.factors, label(node)
        if factors is not None:
            by = self._rewriting.constant(f"{name}.turns", factors[plane])
            source = self._after(node, "Mul", [source, by], {}, f"{name}.turned", source)
        threshold = self._rewriting.constant(f"{name}.threshold", leaf.thresholds[plane])
        return self._after(node, "Binarize", [source, threshold], {}, f"{name}.sign", like)

    def _piece(self, value: ir.Value, node: ir.Node) -> list[ir.Value]:
        """Return the inputs of a Slice, from the second on, that gives an output of a Split."""
        sizes = [(shape_of(output) or [])[_axis(node)] for output in node.outputs]
        start = sum(size or 0 for size in sizes[: value.index()])
        numbers = {"start": start, "end": start + (sizes[value.index() or 0] or 0), "axis": _axis(node)}
        return [self._rewriting.constant(f"{value.name}.{key}", np.array([n])) for key, n in numbers.items()]

    def _after(
        self,
        node: ir.Node,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        attributes: Mapping[str, Any],
        name: str,
        like: ir.Value,
    ) -> ir.Value:
        """Add a node behind ``node``, and behind all that has been added there for its inputs."""
        domain = DOMAIN if op_type == "Binarize" else ""
        place = _last(node, inputs)
        return self._rewriting.insert_after(place, op_type, inputs, attributes, name=name, domain=domain, like=like)


def _turns(signs: Signs) -> bytes:
    """Return what tells the forms of one value apart: which of its signs the layer's weights turn round."""
    return b"" if signs.flips is None else signs.flips.tobytes()


def _last(node: ir.Node, values: Sequence[ir.Value | None]) -> ir.Node:
    """Return the last of a node and of the nodes that make values."""
    makers = [maker for value in values if value is not None and (maker := value.producer()) is not None]
    graph = node.graph
    assert graph is not None
    if all(maker is node for maker in makers):
        return node
    wanted = {node, *makers}
    return next(entry for entry in reversed(graph) if entry in wanted)


def _axis(node: ir.Node) -> int:
    shape = shape_of(node.inputs[0])
    return (node.attributes.get_int("axis", 0) or 0) % len(shape or [0])


def _channels(signs: Signs) -> int:
    shape = shape_of(signs.value)
    if shape is None or len(shape) < 2 or shape[1] is None:
        raise StaysFloat(f"the channels of {signs.value.name}, which is a sum of signs, are not known")
    return shape[1]


def _wider(value: ir.Value, factor: int) -> ir.Shape | None:
    """Return the shape of a value with ``factor`` times its channels."""
    if value.shape is None:
        return None
    sizes = list(value.shape)
    return ir.Shape([sizes[0], sizes[1] * factor if isinstance(sizes[1], int) else None, *sizes[2:]])


def _moved(value: ir.Value, node: ir.Node, parts: tuple[Signs, ...]) -> Signs:
    """Return the signs that an operator gives by moving or selecting those of ``parts``."""
    first = parts[0]
    if any((part.scale, part.offset, part.planes) != (first.scale, first.offset, first.planes) for part in parts):
        raise StaysFloat(f"its input joins activations of different scales in {label(node)}")
    if node.op_type == "Split" and any((shape_of(output) or [None])[_axis(node)] is None for output in node.outputs):
        raise StaysFloat(f"its input comes from Split {label(node)}, whose sizes are not known")
    if node.op_type in ("MaxPool", "GlobalMaxPool") and not all(part.monotone for part in parts):
        raise StaysFloat(f"its input is a maximum of activations that rise and fall with their source ({label(node)})")
    flips = None
    if any(part.flips is not None for part in parts):
        flips = _moved_flips(node, parts)
        if flips is None:
            parts = tuple(part.straight() for part in parts)
    notes = tuple(dict.fromkeys(note for part in parts for note in part.notes))
    faithful, rounded = all(part.faithful for part in parts), any(part.rounded for part in parts)
    return Signs(value, first.scale, first.offset, first.planes, None, parts, flips, notes, faithful, rounded)


def _moved_flips(node: ir.Node, parts: tuple[Signs, ...]) -> NDArray[np.int8] | None:
    """Return the flips behind an operator, None for one that mixes channels with other axes."""
    if node.op_type in ("Dropout", "Identity"):
        return parts[0].flips
    shapes = [shape_of(part.value) for part in parts]
    if any(shape is None or len(shape) < 2 or None in shape[1:] for shape in shapes):
        return None
    full = []
    for part, shape in zip(parts, shapes, strict=True):
        assert shape is not None
        flips = np.ones((1, 1), np.int8) if part.flips is None else part.flips
        full.append(np.broadcast_to(flips, (part.planes, shape[1] or 0)))
    if node.op_type == "Concat" and _axis(node) == 1:
        return np.concatenate(full, axis=1)
    if node.op_type == "Flatten" and node.attributes.get_int("axis", 1) == 1 and shapes[0] is not None:
        return np.repeat(full[0], math.prod(size or 0 for size in shapes[0][2:]), axis=1)
    return None
