"""What :func:`..inline.inline` wrote out becomes again what it was: the same operators, the same bits, the same names.

A plain file of ours says in its properties which node stands for which operator (:data:`WRITTEN_OUT`). Where the
nodes around it still have the form of that operator's body they are put back together, and nothing is computed. Where a
tool has changed them they are left, and are looked at like those of any other file.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from ...runtime.bits import DOMAIN, pack_conv_weight, pack_signs
from ...runtime.files import parse_json
from ...runtime.operators import LAYERS, SIGNATURES, STANDARD_DOMAINS, WRITTEN_OUT
from ..graph.constants import Constants
from .rewriting import Rewriting

__all__ = ["restore"]


def restore(model: ir.Model) -> None:
    """Put the operators of a plain model of ours back together, in place; other models are left as they are."""
    operators = _written_out(model.metadata_props.pop(WRITTEN_OUT, "{}"))
    constants, rewriting = Constants(model), Rewriting(model)
    for node in list(model.graph):
        operator = operators.get(node.name or "")
        if operator == "Binarize":
            _restore_sign(node, constants, rewriting)
        elif operator is not None and operator in LAYERS:
            _restore_layer(node, operator, constants, rewriting)
    rewriting.finish()


def _written_out(text: str) -> dict[str, str]:
    """Return operators by node; none where the property says no such thing."""
    try:
        return {name: str(entry["operator"]) for name, entry in parse_json(text).items()}
    except (ValueError, AttributeError, TypeError, KeyError):
        return {}


def _restore_sign(node: ir.Node, constants: Constants, rewriting: Rewriting) -> None:
    """Put ``Where(x >= threshold, 1, −1)`` back together."""
    compared = node.inputs[0].producer() if _is(node, "Where") and node.inputs[0] is not None else None
    if compared is None or not _is(compared, "GreaterOrEqual"):
        return
    above, below = (constants.get(value) for value in node.inputs[1:])
    if above is None or below is None or above.shape or below.shape or above != 1 or below != -1:
        return
    added = ir.node("Binarize", list(compared.inputs), domain=DOMAIN, name=node.name)
    rewriting.take_place([node], added)


def _restore_layer(node: ir.Node, operator: str, constants: Constants, rewriting: Rewriting) -> None:
    """Put ``Conv(x − p, signs) [Round] · scale + bias``, or the same with MatMul, back together."""
    signature, name = SIGNATURES[operator], node.name
    convolves = signature.rank == 4
    chain = _chain(node, ["Mul", "Add"] if signature.real_input else ["Round", "Mul", "Add"])
    weight = constants.get(node.inputs[1]) if _is(node, "Conv" if convolves else "MatMul") else None
    if chain is None or weight is None or weight.ndim != signature.rank or not np.all(np.abs(weight) == 1):
        return
    signs = (weight if convolves else weight.T).astype(np.int8)
    scale, bias = (_vector(constants.get(step.inputs[1]), len(signs), convolves) for step in chain[-2:])
    if scale is None or bias is None:
        return
    source, pad = node.inputs[0], 0.0
    before = None if source is None else source.producer()
    if "pad_value" in signature.attributes and before is not None and _is(before, "Sub"):
        number = constants.get(before.inputs[1])
        if number is not None and not number.shape and abs(number) == 1:
            source, pad = before.inputs[0], float(number)
    edge = constants.get(node.inputs[2]) if len(node.inputs) > 2 else np.zeros(len(signs))
    if edge is None or not np.array_equal(edge, pad * signs.reshape(len(signs), -1).sum(1)):
        return
    geometry: dict[str, Any] = {"weight_shape": list(signs.shape), "pad_value": pad}
    for key, default in (("strides", [1, 1]), ("pads", [0, 0, 0, 0]), ("dilations", [1, 1])):
        geometry[key] = list(node.attributes.get_ints(key, default) or default)
    geometry["group"] = node.attributes.get_int("group", 1)
    if node.attributes.get_string("auto_pad", "NOTSET") not in ("NOTSET", ""):
        return
    rewriting.release([node, *chain])
    packed = pack_conv_weight(signs) if convolves else pack_signs(signs)
    arrays: dict[str, NDArray[Any]] = {"weight": packed, "scale": scale, "bias": bias}
    inputs = [source, *(rewriting.constant(f"{name}.{key}", array) for key, array in arrays.items())]
    attributes = {key: geometry[key] for key in signature.attributes}
    rewriting.take_place([node, *chain], ir.node(operator, inputs, attributes, domain=DOMAIN, name=name))


def _is(node: ir.Node, op_type: str) -> bool:
    return node.op_type == op_type and node.domain in STANDARD_DOMAINS


def _chain(node: ir.Node, op_types: Sequence[str]) -> list[ir.Node] | None:
    """Return the nodes of these types that follow one another, each the only reader of the one before."""
    found = [node]
    for op_type in op_types:
        output = found[-1].outputs[0]
        readers = output.consumers()
        if len(readers) != 1 or output.is_graph_output() or not _is(readers[0], op_type):
            return None
        if readers[0].inputs[0] is not output:
            return None
        found.append(readers[0])
    return found[1:]


def _vector(array: NDArray[Any] | None, channels: int, convolves: bool) -> NDArray[np.float32] | None:
    """Return the scale or bias of a layer, ``[O]``, from the shape that it has beside a value of that layer."""
    if array is None or array.dtype != np.float32 or array.shape != (channels, 1, 1)[: 3 if convolves else 1]:
        return None
    return array.reshape(-1)
