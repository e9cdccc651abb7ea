"""What exporters leave between a sign and its layer and what computes nothing, moved out of the way.

Nodes that hand on what they read (Identity, a Reshape to the size that a value has already, a Slice of everything) are
taken out. A Pad before a Transpose or an Identity goes behind it, next to the convolution that takes it in. Every
rewrite gives the same bits.
"""

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from ...runtime.operators import STANDARD_DOMAINS
from ..graph.constants import Constants
from ..graph.wholes import unchanged
from .rewriting import Rewriting
from .uniform import made_in_shape_of, same_sizes
from .views import sizes_of

__all__ = ["tidy"]


def tidy(model: ir.Model) -> None:
    """Take out what computes nothing, and move pads next to convolutions, in place."""
    constants, rewriting = Constants(model), Rewriting(model)
    for node in list(model.graph):
        if node.domain not in STANDARD_DOMAINS or node.outputs[0].is_graph_output():
            continue
        source = node.inputs[0] if _hands_on(node, constants) else unchanged(node, constants.get)
        if source is not None:
            node.outputs[0].replace_all_uses_with(source)
    RemoveUnusedNodesPass()(model)
    for node in list(model.graph):
        if node.domain in STANDARD_DOMAINS and node.op_type == "Transpose":
            _swap_with_pad(node, constants, rewriting)
    RemoveUnusedNodesPass()(model)


def _hands_on(node: ir.Node, constants: Constants) -> bool:
    """Tell whether a node gives what it reads."""
    if node.op_type == "Identity":
        return node.inputs[0] is not None and not node.inputs[0].is_initializer()
    if node.op_type == "Transpose":
        perm = list(node.attributes.get_ints("perm", []) or [])
        return bool(perm) and perm == sorted(perm)
    if node.op_type not in ("Expand", "Flatten", "Reshape") or constants.get(node.inputs[0]) is not None:
        return False
    if same_sizes(node.inputs[0], node.outputs[0], may_guess=node.op_type != "Expand"):
        return True
    return node.op_type != "Flatten" and made_in_shape_of(node.inputs[1], node.inputs[0], constants)


def _swap_with_pad(node: ir.Node, constants: Constants, rewriting: Rewriting) -> None:
    """Let a Transpose read what the Pad before it reads, and pad its result."""
    value = node.inputs[0]
    pad = None if value is None else value.producer()
    perm, sizes = list(node.attributes.get_ints("perm", []) or []), sizes_of(value)
    if value is None or pad is None or pad.op_type != "Pad" or pad.domain not in STANDARD_DOMAINS:
        return
    pads = constants.get(pad.inputs[1]) if len(pad.inputs) > 1 else None
    whole = len(pad.inputs) < 4 or pad.inputs[3] is None
    before, result = pad.inputs[0], node.outputs[0]
    if pads is None or not whole or not perm or sizes is None or pads.shape != (2 * len(perm),) or before is None:
        return
    if len(value.uses()) != 1 or value.is_graph_output() or result.is_graph_output():
        return
    turned = pads.reshape(2, -1)[:, perm].reshape(-1)
    name = pad.name or str(value.name)
    inputs = [result, rewriting.constant(f"{name}.pads", turned.astype(np.int64)), *pad.inputs[2:]]
    users = [(user, index) for user, index in result.uses()]
    padded = rewriting.insert_after(node, "Pad", inputs, pad.attributes, name=name, like=result)
    padded.type = result.type
    for user, index in users:
        user.replace_input_with(index, padded)
    node.replace_input_with(0, before)
    inner = sizes_of(before)
    result.shape = None if inner is None else ir.Shape([inner[axis] for axis in perm])
