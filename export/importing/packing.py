"""Packing a plain ONNX graph: every layer with ±scale weights becomes a binary operator where its input is ±1.

Layers are taken in order, so that what is known of one (its output is never 0, say) serves the next. A layer is

* ``binary``: weights and input are signs; BinaryConv2d or BinaryGemm, exact integers inside;
* ``weight-only``: the weights are signs, the input is real; BinaryWeightConv2d or BinaryWeightGemm;
* ``float``: left as it is.

Layers over sequences and frames are lifted to images and rows first (:mod:`.lifting`). Whatever is not binary has its
reason. Scales, biases and what follows per channel go into the layer's scale and bias:
composed in float64, rounded once.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from ...runtime.bits import DOMAIN, pack_conv_weight, pack_signs
from ...runtime.errors import ModelError
from ...runtime.operators import SIGNATURES, STANDARD_DOMAINS, find_layer
from ..graph.constants import Constants
from .activations import Activations
from .core import Core, never_zero
from .layers import SOURCE, Layer, StaysFloat, is_layer, label, read_layer, split_planes
from .lifting import lift_layers
from .padding import facing
from .rewriting import Rewriting
from .signs import Signs
from .tail import Tail, read_tail
from .tidying import tidy
from .ties import quantiser_behind
from .transposed import as_convolution
from .turning import cancel_transposes

__all__ = ["Outcome", "pack_layers"]

_LARGE = 1e32
"""Below it no sum of a layer overflows."""

_LARGEST_WINDOW = 65535
"""Signs that the runtime counts for one output at most; a layer of more would not run packed."""

_STRAIGHT_THROUGH_TOLERANCE = 1e-5
"""By how much ``hard − soft + soft`` may differ from ``hard``, as a part of it, in weights."""


@dataclass(frozen=True)
class Outcome:
    """What became of one layer.

    ``reason`` says why it is not binary (empty where it is); ``exact`` whether its float32 results are the source's bit
    for bit, else they differ in rounding; ``folded`` which operators behind it went into scale and bias.
    """

    name: str
    op_type: str
    form: Literal["binary", "weight-only", "float"]
    reason: str = ""
    weight_shape: tuple[int, ...] = ()
    pad_value: int | None = None
    exact: bool | None = None
    folded: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def pack_layers(
    model: ir.Model, *, weight_only: bool = True, sign_zero: str = "keep", straight_through: bool = False
) -> list[Outcome]:
    """Pack the layers of a plain model in place; return one outcome a layer, in the order of the graph.

    weight_only: also pack layers whose input is real. sign_zero: which sign an activation gets that is 0 where its
    source is 0 (``Sign``): "plus", "minus", or "keep", which leaves the layer that reads it unpacked.
    straight_through: take ``hard − soft + soft`` as ``hard``, in activations and in weights; the outcome notes it.
    """
    tidy(model)
    cancel_transposes(model)
    lift_layers(model)
    packer = _Packer(model, weight_only, sign_zero, straight_through)
    outcomes = []
    for node in list(model.graph.all_nodes()):
        if is_layer(node):
            outcomes.append(_already(node) if node.domain == DOMAIN else packer.pack(node))
    packer.rewriting.finish()
    for node in model.graph.all_nodes():
        node.metadata_props.pop(SOURCE, None)
    lift_layers(model)
    return outcomes


def _already(node: ir.Node) -> Outcome:
    form: Literal["binary", "weight-only"] = "weight-only" if SIGNATURES[node.op_type].real_input else "binary"
    pad, pads = node.attributes.get("pad_value"), node.attributes.get("pads")
    try:
        shape = tuple(node.attributes["weight_shape"].as_ints())
        pad_value = int(pad.as_float()) if pad is not None and pads is not None and any(pads.as_ints()) else None
    except (KeyError, TypeError, ValueError, OverflowError):
        raise ModelError(
            f"{node.op_type} {label(node)} has an attribute of another type than its definition; export it again"
        ) from None
    return Outcome(label(node), node.op_type, form, "", shape, pad_value, True, notes=("packed in the source",))


class _Packer:
    def __init__(self, model: ir.Model, weight_only: bool, sign_zero: str, straight_through: bool) -> None:
        self.constants = Constants(model)
        self.rewriting = Rewriting(model)
        self.activations = Activations(self.rewriting, self.constants, sign_zero, straight_through)
        self.weight_only = weight_only
        self.tolerance = _STRAIGHT_THROUGH_TOLERANCE if straight_through else 0.0

    def pack(self, node: ir.Node) -> Outcome:
        """Pack one layer if it can be, and return what became of it."""
        name, op_type = label(node), node.op_type
        shape: tuple[int, ...] = ()
        try:
            if node.graph is not self.rewriting.graph:
                raise StaysFloat("it lies inside the body of a control-flow operator")
            if node.op_type == "ConvTranspose":
                node = self._transposed(node)
            layer = read_layer(node, self.constants)
            shape = layer.weight.shape
            planes, alpha, difference = split_planes(layer.weight, self.tolerance)
        except StaysFloat as stays:
            return Outcome(name, op_type, "float", str(stays), shape)
        reason = ""
        try:
            source, pads, pad_value = self._input(layer)
            source = source.times(len(planes))
            core = Core(layer, planes, alpha, pads, source, pad_value)
            if core.window > _LARGEST_WINDOW:
                raise StaysFloat(f"{core.window} signs an output are more than the {_LARGEST_WINDOW} that are counted")
            value = self.activations.build(source, layer.group)
        except StaysFloat as stays:
            reason = str(stays)
            if len(planes) > 1:
                return Outcome(name, op_type, "float", f"its weights hold zeros besides ±scale, and {reason}", shape)
            if not self.weight_only:
                return Outcome(name, op_type, "float", reason, shape)
            core, value = Core(layer, planes, alpha, layer.pads), layer.input
        tail = read_tail(layer, core.start, self.constants, core.integral)
        if not (np.all(np.isfinite(tail.scale)) and np.all(np.isfinite(tail.bias))):
            return Outcome(name, op_type, "float", "its scale or bias is not finite in float32", shape)
        quantiser = quantiser_behind(tail.nodes[-1].outputs[0])
        exact = self._replace(core, tail, value) and not difference
        notes = () if core.source is None else core.source.notes
        if quantiser and not exact:
            notes += (f"a rounding difference may move {quantiser} by one step",)
        if difference:
            notes += (f"its weights differ from ±scale by up to {difference:.1g} of it (straight_through)",)
        if core.source is None:
            return Outcome(name, op_type, "weight-only", reason, shape, None, exact, tail.folded, notes)
        pad = core.pad_value if layer.is_conv and any(core.pads) else None
        if core.source.planes > 1:
            notes = (f"{core.source.planes} signs stand for a product of its weights and its input", *notes)
        return Outcome(name, op_type, "binary", "", shape, pad, exact, tail.folded, notes)

    def _transposed(self, node: ir.Node) -> ir.Node:
        """Write a transposed convolution of signs as a convolution; StaysFloat where it would not be packed."""
        weight, source = self.constants.get(node.inputs[1]), node.inputs[0]
        if weight is None or source is None:
            raise StaysFloat("its second operand is no constant")
        split_planes(weight.swapaxes(0, 1), self.tolerance)
        if self.activations.read(source).pad_value(0.0) is None:
            raise StaysFloat("it pads with 0, which its activation has no sign for")
        return as_convolution(node, self.constants, self.rewriting)

    def _input(self, layer: Layer) -> tuple[Signs, tuple[int, int, int, int], int]:
        """Return the ±1 form of a layer's input, its pads and its pad value; a Pad before it is taken in."""
        before = layer.input.producer()
        inner, pads, number = layer.input, layer.pads, 0.0
        if layer.is_conv and before is not None and before.op_type == "Pad" and before.domain in STANDARD_DOMAINS:
            inner, outer, number = self._pad(before)
            total = [one + two for one, two in zip(layer.pads, outer, strict=True)]
            pads = (total[0], total[1], total[2], total[3])
        signs = self.activations.read(inner)
        for form in (signs, signs.straight(), facing(signs, number)):
            value = None if form is None else form.pad_value(number)
            if form is None:
                continue
            if not any(pads) or (value is not None and (not any(layer.pads) or form.pad_value(0.0) == value)):
                return form, pads, value or 0
        if inner is layer.input:
            raise StaysFloat("it pads with 0, which its activation has no sign for")
        assert before is not None
        raise StaysFloat(f"{label(before)} pads with {number:g}, which is none of −1, 0 and +1 of its activation")

    def _pad(self, node: ir.Node) -> tuple[ir.Value, tuple[int, int, int, int], float]:
        if node.attributes.get_string("mode", "constant") != "constant":
            raise StaysFloat(f"{label(node)} pads with copies of the image, not with a constant")
        inputs = [*node.inputs, None, None, None]
        pads, number, axes = (self.constants.get(inputs[i]) for i in (1, 2, 3))
        if inputs[0] is None or pads is None or axes is not None or pads.shape != (8,):
            raise StaysFloat(f"{label(node)} pads by sizes that are not 8 constants")
        if (inputs[2] is not None and number is None) or (number is not None and number.size != 1):
            raise StaysFloat(f"{label(node)} pads with a value that is no constant")
        if np.any(pads[[0, 1, 4, 5]]) or pads.min() < 0:
            raise StaysFloat(f"{label(node)} pads the batch or the channels, or crops")
        top, left, bottom, right = (int(pads[i]) for i in (2, 3, 6, 7))
        return inputs[0], (top, left, bottom, right), 0.0 if number is None else float(number.reshape(-1)[0])

    def _replace(self, core: Core, tail: Tail, value: ir.Value) -> bool:
        """Replace a layer and its tail by one packed operator; tell whether the results stay the same bit for bit."""
        layer, source, signs = core.layer, core.source, core.signs
        name = label(layer.node)
        packed = pack_conv_weight(signs) if layer.is_conv else pack_signs(signs)
        arrays: dict[str, NDArray[Any]] = {"weight": packed, "scale": tail.scale, "bias": tail.bias}
        constants = [self.rewriting.constant(f"{name}.{key}", array) for key, array in arrays.items()]
        known: dict[str, int | float | list[int]] = {
            "weight_shape": list(signs.shape),
            "strides": list(layer.strides),
            "pads": list(core.pads),
            "dilations": list(layer.dilations),
            "group": layer.group,
            "pad_value": float(core.pad_value),
        }
        operator = find_layer(signs.ndim, real_input=source is None)
        attributes = {key: known[key] for key in operator.attributes}
        added = ir.node(operator.name, [value, *constants], attributes, domain=DOMAIN, name=layer.node.name or name)
        self.rewriting.take_place(tail.nodes, added)
        if source is None:
            return False  # a sum of floats: its last bits depend on its order
        if np.all(np.abs(tail.scale) < _LARGE) and np.all(np.abs(tail.bias) < _LARGE):
            self.activations.finite.add(added.outputs[0])
        exact = core.exact_sums and (not tail.folded if np.any(core.start.shift) else tail.exact)
        full = not any(core.pads) or core.pad_value != 0
        if never_zero(tail.scale, tail.bias, core.window, every_position_counts=full):
            self.activations.never_zero.add(added.outputs[0])
        elif not exact:
            self.activations.rounded_zero.add(added.outputs[0])
        return exact
