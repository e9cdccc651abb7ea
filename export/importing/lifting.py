"""Changes of rank between binary layers, moved out of the way: what lies between them is computed on images or rows.

Packed layers read images ``[N, C, H, W]`` and rows ``[N, K]``. A network over sequences or frames changes the view of
its tensors (:mod:`.views`) in front of each layer and back behind it, and so cuts the layer off from its sign, its
residual and the next layer. Here each change back sinks below the operators that read it, until it meets a change
forth and both vanish; and changes forth rise above signs, and above activations and pools of a stem::

    layer ─ Squeeze ─ Add ─ PRelu ─ Unsqueeze ─ Binarize ─ layer        before
    layer ─ Add ─ PRelu ─ Binarize ─ layer                              after

The operators stay the same and compute the same numbers; their constants and attributes get the axis that is new.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir.passes.common import RemoveUnusedNodesPass

from ...runtime.bits import DOMAIN
from ...runtime.operators import LAYERS, STANDARD_DOMAINS
from ..graph.constants import Constants
from .elementwise import ELEMENTWISE
from .layers import StaysFloat, label, split_planes
from .rewriting import Rewriting
from .views import Image, Rows, View, lifted_by, lowered_by, sizes_of

__all__ = ["lift_layers"]

_POOLS = ("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool")

_SIGNS = ("Binarize", "Pad")

_FILLS = {"kernel_shape": 1, "strides": 1, "dilations": 1, "pads": 0}


def lift_layers(model: ir.Model) -> None:
    """Let binary layers over sequences and frames, and what lies between them, read images and rows, in place.

    Layers are our operators, convolutions over one axis and matrix products over three axes or more whose weights are
    ±scale, or 0 besides. The model answers as before. It is done before layers are packed, so that the packing sees
    what follows them, and afterwards, to bring the signs that the packing has made next to their layers.
    """
    lifter = _Lifter(model)
    for node in list(model.graph):
        lifter.open(node)
    for node in list(model.graph):
        lifter.sink(node)
    lifter.raise_signs()
    RemoveUnusedNodesPass()(model)


class _Lifter:
    """``_behind`` are the values that depend on a binary layer: only there changes of view are moved down.

    ``_risen`` are the nodes above which one has been moved.
    """

    def __init__(self, model: ir.Model) -> None:
        self._rewriting, self._constants = Rewriting(model), Constants(model)
        self._graph = model.graph
        self._behind: set[ir.Value] = set()
        self._risen: set[ir.Node] = set()

    def open(self, node: ir.Node) -> None:
        """Put a layer of ±scale weights over sequences or frames between two changes of view."""
        if node.domain not in STANDARD_DOMAINS or node.op_type not in ("Conv", "MatMul"):
            return
        weight, sizes = self._constants.get(node.inputs[1]), sizes_of(node.inputs[0])
        if weight is None or weight.dtype != np.float32 or sizes is None:
            return
        view: View = Image(2)
        if node.op_type == "MatMul":
            view = Rows(tuple(size for size in sizes[1:-1] if isinstance(size, int)))
            weight = weight.T
        if weight.ndim != (3 if node.op_type == "Conv" else 2) or len(sizes) < 3:
            return
        try:
            split_planes(weight)
        except StaysFloat:
            return
        if self._lift(node, view):
            self._behind.add(node.outputs[0])

    def sink(self, node: ir.Node) -> None:
        """Move changes back, which a node reads, below it; one that a change forth reads vanishes with it."""
        if node.domain == DOMAIN and node.op_type in LAYERS:
            self._behind.add(node.outputs[0])
        elif not self._behind.isdisjoint(node.inputs):
            self._behind.update(node.outputs)
            if not self._meet(node) and lowered_by(node, self._constants) is None and not _computed_weight(node):
                for value in node.inputs:
                    maker = None if value is None or value not in self._behind else value.producer()
                    view = lowered_by(maker, self._constants)
                    if view is not None and self._lift(node, view):
                        break

    def raise_signs(self) -> None:
        """Move changes forth above a Binarize, and above pads; those of binary layers vanish behind changes back.

        Those to images rise further, above the activations and pools of a stem: the runtime then runs them beside the
        layer that reads them.
        """
        for node in reversed(list(self._graph)):
            if not (any(user.domain == DOMAIN for user in node.outputs[0].consumers()) and self._meet(node)):
                self._raise(node)

    def _raise(self, node: ir.Node) -> None:
        view = lifted_by(node, self._constants)
        value = None if view is None else node.inputs[0]
        maker = None if value is None else value.producer()
        if (
            value is None
            or view is None
            or maker is None
            or not (maker.op_type in _SIGNS or self._leads(maker, node, view))
        ):
            return
        users = tuple(value.consumers())
        alone = all(lifted_by(user, self._constants) == view for user in users)
        if not alone or value.is_graph_output() or not self._lift(maker, view):
            return
        self._risen.add(maker)
        for user in users:
            self._meet(user)
        before = None if maker.inputs[0] is None else maker.inputs[0].producer()
        if before is not None:
            self._raise(before)

    def _leads(self, node: ir.Node, change: ir.Node, view: View) -> bool:
        """Tell whether a node leads a float sequence to packed layers alone: an activation or a pool of a stem."""
        if not isinstance(view, Image) or node.domain not in STANDARD_DOMAINS:
            return False
        if not all(user.domain == DOMAIN or user in self._risen for user in change.outputs[0].consumers()):
            return False
        real = [value for value in node.inputs if value is not None and self._constants.get(value) is None]
        return len(real) == 1 and (node.op_type in ELEMENTWISE or node.op_type in ("AveragePool", "MaxPool"))

    def _meet(self, node: ir.Node) -> bool:
        """Remove a change forth of what a change back gives."""
        view, value = lifted_by(node, self._constants), node.inputs[0]
        maker = None if view is None or value is None else value.producer()
        if maker is None or lowered_by(maker, self._constants) != view or node.outputs[0].is_graph_output():
            return False
        source = maker.inputs[0]
        assert source is not None
        node.outputs[0].replace_all_uses_with(source)
        self._graph.remove(node, safe=True)
        return True

    def _lift(self, node: ir.Node, view: View) -> bool:
        """Let a node compute the lifted form of what it computes, and lower that behind it; False where it cannot."""
        result = node.outputs[0]
        sizes = sizes_of(result)
        lifted = None if sizes is None else view.lift(sizes)
        if sizes is None or lifted is None or node.graph is not self._graph:
            return False
        if any(output.uses() or output.is_graph_output() for output in node.outputs[1:]):
            return False
        attributes = _attributes(node, view, len(sizes))
        operands = None if attributes is None else self._operands(node, view, sizes)
        if attributes is None or operands is None:
            return False
        for index, operand in operands.items():
            if isinstance(operand, ir.Value):
                node.replace_input_with(index, self._lifted(operand, view, node))
            else:
                self._rewriting.set_constant(node, index, operand)
        node.attributes.update(
            {name: ir.convenience.convert_attribute(name, value) for name, value in attributes.items()}
        )
        op_type, second = view.lower(sizes)
        lower = self._change(op_type, None, second, node, result)
        self._graph.insert_after(node, lower)
        ir.convenience.replace_all_uses_with(result, lower.outputs[0], replace_graph_outputs=True)
        lower.replace_input_with(0, result)
        lower.outputs[0].name, result.name = result.name, lower.outputs[0].name
        result.shape = ir.Shape(lifted[2])
        self._behind.add(lower.outputs[0])
        return True

    def _operands(self, node: ir.Node, view: View, result: Any) -> dict[int, ir.Value | NDArray[Any]] | None:
        """Return the inputs that change: values to be lifted, and constants; None where one cannot be lifted."""
        inputs = list(enumerate(node.inputs))
        if node.op_type in ("BatchNormalization", "LayerNormalization", "MatMul", *_POOLS):
            inputs = inputs[:1]
        elif node.op_type in ("Conv", "Pad"):
            inputs = inputs[:2]
        elementwise = node.op_type in ELEMENTWISE or node.op_type == "Binarize"
        found: dict[int, ir.Value | NDArray[Any]] = {}
        for index, value in inputs:
            array = self._constants.get(value)
            sizes = sizes_of(value)
            if value is None:
                continue
            if array is not None:
                changed = _pads(array, view) if node.op_type == "Pad" else view.constant(array)
                if node.op_type == "Concat" or changed is None:
                    return None
                if changed.shape != array.shape:
                    found[index] = changed
            elif sizes is None or view.lift(sizes) is None or (elementwise and not view.fits(sizes, result)):
                return None
            else:
                found[index] = value
        return found

    def _lifted(self, value: ir.Value, view: View, like: ir.Node) -> ir.Value:
        """Return the lifted form of a value: what was lowered, or that of a change forth directly behind the value."""
        maker = value.producer()
        if maker is not None and lowered_by(maker, self._constants) == view and maker.inputs[0] is not None:
            return maker.inputs[0]
        sizes = sizes_of(value)
        assert sizes is not None
        change = view.lift(sizes)
        assert change is not None
        others = [user for user in value.consumers() if lifted_by(user, self._constants) == view]
        node = self._change(change[0], value, change[1], like, value)
        node.outputs[0].shape = ir.Shape(change[2])
        if maker is None:
            self._graph.insert_before(self._graph[0], node)
        else:
            self._graph.insert_after(maker, node)
        for other in others:
            if not other.outputs[0].is_graph_output():
                other.outputs[0].replace_all_uses_with(node.outputs[0])
        return node.outputs[0]

    def _change(self, op_type: str, value: ir.Value | None, second: Any, like: ir.Node, typed: ir.Value) -> ir.Node:
        """Return a node that changes the view of a value of the type of ``typed``, filed where ``like`` is."""
        name = self._rewriting.unique(f"{label(like)}.{op_type.lower()}")
        constant = self._rewriting.constant(f"{name}.constant", second.astype(np.int64))
        node = ir.node(op_type, [value, constant], name=name)
        node.metadata_props.update(like.metadata_props)
        output = node.outputs[0]
        output.name, output.type, output.shape = self._rewriting.unique(f"{name}.out"), typed.type, typed.shape
        return node


def _computed_weight(node: ir.Node) -> bool:
    """Tell whether a convolution's weight is computed (from int8, say): it is not to be stored as floats."""
    weight = node.inputs[1] if node.op_type == "Conv" else None
    return weight is not None and weight.const_value is None


def _attributes(node: ir.Node, view: View, rank: int) -> Mapping[str, Any] | None:
    """Return the attributes that change where an operator reads lifted values; None for an operator that cannot."""
    if node.domain == DOMAIN:
        return {} if node.op_type == "Binarize" else None
    if node.domain not in STANDARD_DOMAINS:
        return None
    if node.op_type in ELEMENTWISE:
        return {}
    if isinstance(view, Rows):
        last = node.op_type == "LayerNormalization" and (node.attributes.get_int("axis", -1) or 0) % rank == rank - 1
        return {"axis": -1} if last else {} if node.op_type == "MatMul" else None
    if node.op_type == "Concat":
        axis = (node.attributes.get_int("axis") or 0) % rank
        return {"axis": axis if axis < view.axis else axis + 1}
    if node.op_type == "Pad":
        return {} if len(node.inputs) < 4 or node.inputs[3] is None else None  # the axes are all, in order
    if node.op_type not in ("BatchNormalization", "Conv", *_POOLS):
        return None
    found: dict[str, Any] = {}
    for name, fill in _FILLS.items():
        values = list(node.attributes.get_ints(name, []) or [])
        if values:
            halves = (values[:1], values[1:]) if name == "pads" else (values,)
            found[name] = [size for half in halves for size in view.spread(half, fill)]
    return found


def _pads(array: NDArray[Any], view: View) -> NDArray[Any] | None:
    """Return the pads ``[6]`` of a sequence as those ``[8]`` of an image: all that begin, then all that end."""
    if isinstance(view, Rows) or array.shape != (6,):
        return None
    return np.insert(array.reshape(2, 3), view.axis, 0, axis=1).reshape(-1)
