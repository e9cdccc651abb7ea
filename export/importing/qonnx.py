"""The dialect QONNX (arXiv 2206.07527), which Brevitas exports: its quantisers, written as standard ONNX.

========================  =========================================================================
``BipolarQuant(x, s)``    ``Where(x >= 0, 1, −1) · s``
``Quant``/``IntQuant``    ``(Round(Clip(x / s + z, min, max)) − z) · s`` with the limits of its bits
========================  =========================================================================

The formulas and their order are those of ``qonnx.custom_op.general`` (package qonnx 1.0.0, ``binary_quant`` and
``int_quant``). What else the dialect holds is named in one ModelError by the conductor: nothing stays behind unnoticed.
"""

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from ...runtime.errors import ModelError
from ..graph.constants import Constants, add_constant
from .layers import label

__all__ = ["lower_qonnx"]

DOMAINS = frozenset({"qonnx.custom_op.general", "onnx.brevitas", "finn.custom_op.general"})
"""Names under which exporters of different years file these operators."""

_ROUNDING = {"ROUND": "Round", "HALF_EVEN": "Round", "CEIL": "Ceil", "FLOOR": "Floor"}


class _Writer:
    """Adds nodes before one node, named after it."""

    def __init__(self, model: ir.Model, node: ir.Node) -> None:
        self.node, self.graph = node, model.graph
        self._count = 0

    def __call__(self, op_type: str, *inputs: ir.Value | None) -> ir.Value:
        self._count += 1
        name = f"{label(self.node)}.{op_type.lower()}{self._count}"
        added = ir.node(op_type, list(inputs), name=name)
        added.outputs[0].name = f"{name}.out"
        assert self.node.graph is not None
        self.node.graph.insert_before(self.node, added)
        return added.outputs[0]

    def constant(self, name: str, number: float) -> ir.Value:
        """Add a float32 scalar."""
        self._count += 1
        return add_constant(self.graph, f"{label(self.node)}.{name}{self._count}", np.array(number, np.float32))


def lower_qonnx(model: ir.Model) -> None:
    """Write the quantisers of a model in standard ONNX, in place. Raises ModelError for parameters it cannot carry."""
    for node in list(model.graph.all_nodes()):
        if node.domain not in DOMAINS or node.op_type not in _LOWER:
            continue
        result = _LOWER[node.op_type](node, _Writer(model, node), Constants(model))
        old, name = node.outputs[0], node.outputs[0].name
        result.name, old.name = name, f"{name}.replaced"
        result.type, result.shape = old.type, old.shape
        made = result.producer()
        assert made is not None
        assert node.graph is not None
        made.name, node.name = label(node), f"{label(node)}.replaced"
        ir.convenience.replace_all_uses_with(old, result, replace_graph_outputs=True)
        node.graph.remove(node, safe=True)


def _bipolar(node: ir.Node, write: _Writer, constants: Constants) -> ir.Value:
    x, scale = node.inputs[:2]
    positive = write("GreaterOrEqual", x, write.constant("zero", 0.0))
    return write("Mul", write("Where", positive, write.constant("plus", 1.0), write.constant("minus", -1.0)), scale)


def _integer(node: ir.Node, write: _Writer, constants: Constants) -> ir.Value:
    x, scale, zero, width = node.inputs[:4]
    array = constants.get(width)
    if array is None or array.size != 1:
        raise ModelError(f"node {label(node)}: a {node.op_type} whose bit width is no constant number is not supported")
    bits = float(array.reshape(-1)[0])
    signed, narrow = bool(node.attributes.get_int("signed", 1)), bool(node.attributes.get_int("narrow", 1))
    mode = (node.attributes.get_string("rounding_mode", "ROUND") or "ROUND").upper()
    y = write("Add", write("Div", x, scale), zero)
    if bits == 1 and signed:  # the executor of qonnx reads one signed bit as a bipolar quantiser
        y = write(
            "Where",
            write("GreaterOrEqual", y, write.constant("limit", 0.0)),
            write.constant("plus", 1.0),
            write.constant("minus", -1.0),
        )
    else:
        if mode not in _ROUNDING:
            raise ModelError(
                f"node {label(node)}: rounding mode {mode} of {node.op_type} is not supported; "
                f"known are {', '.join(sorted(_ROUNDING))}"
            )
        least = (-(2 ** (bits - 1)) + narrow) if signed else 0.0
        most = 2 ** (bits - 1) - 1 if signed else 2**bits - 1 - narrow
        y = write(_ROUNDING[mode], write("Clip", y, write.constant("min", least), write.constant("max", most)))
    return write("Mul", write("Sub", y, zero), scale)


_LOWER: dict[str, Callable[[ir.Node, _Writer, Constants], ir.Value]] = {
    "BipolarQuant": _bipolar,
    "IntQuant": _integer,
    "Quant": _integer,
}
