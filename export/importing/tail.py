"""What follows a linear layer and is one multiply and one add per channel: it goes into the layer's scale and bias.

Batch norm, Mul, Div, Add and Sub with one constant per channel are composed in float64 and rounded to float32 once.
One Mul behind a scale of 1 and one Add behind a bias of 0 are the very operations of the packed layer: they stay exact.
"""

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from ...runtime.errors import UnsupportedError
from ...runtime.operators import STANDARD_DOMAINS, channel_vector
from ..folding import Affine, batch_norm_affine, fold_binary
from ..graph.constants import Constants
from .layers import Layer, label

__all__ = ["Tail", "read_tail"]


@dataclass(frozen=True)
class Tail:
    """``nodes`` from the layer to the last one taken in; ``scale`` and ``bias`` of all together, float32 ``[O]``.

    ``exact``: behind a layer of exact sums and without a bias, float32 arithmetic gives the same bits both ways.
    """

    nodes: tuple[ir.Node, ...]
    scale: NDArray[np.float32]
    bias: NDArray[np.float32]
    exact: bool

    @property
    def folded(self) -> tuple[str, ...]:
        """Operators taken into the layer."""
        return tuple(node.op_type for node in self.nodes[1:] if node.op_type not in ("Identity", "Round"))


def read_tail(layer: Layer, start: Affine, constants: Constants, integral: bool = False) -> Tail:
    """Follow the only reader of a layer's output as long as it is affine per channel, and stays finite.

    start: scale and bias of the layer itself. integral: the layer gives integers, so a Round directly behind it (as in
    our own plain files) changes nothing.
    """
    rank = 4 if layer.is_conv else 2
    nodes = [layer.node]
    total = start
    steps: list[str] = []
    while (node := _only_reader(nodes[-1])) is not None:
        if integral and not steps and node.op_type == "Round" and node.domain in STANDARD_DOMAINS:
            nodes.append(node)
            continue
        found = _affine(node, nodes[-1].outputs[0], rank, layer.outputs, constants)
        if found is None:
            break
        step, kind = found
        composed = Affine(step.scale * total.scale, step.scale * total.shift + step.shift)
        if not all(np.all(np.isfinite(array)) for array in _rounded(composed)):
            break
        total = composed
        nodes.append(node)
        steps += [kind] if kind else []
    exact = steps in ([], ["mul"], ["add"], ["mul", "add"])
    return Tail(tuple(nodes), *_rounded(total), exact)


def _rounded(affine: Affine) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    with np.errstate(over="ignore"):
        return fold_binary(affine.scale, affine.shift, None)


def _only_reader(node: ir.Node) -> ir.Node | None:
    output = node.outputs[0]
    uses = tuple(output.uses())
    if len(uses) != 1 or output.is_graph_output() or uses[0].node.graph is not node.graph:
        return None
    return uses[0].node


def _affine(
    node: ir.Node, value: ir.Value, rank: int, channels: int, constants: Constants
) -> tuple[Affine, str] | None:
    """Return (map, "mul" | "add" | "both" | "" for Identity) of a node, None where it is no map per channel."""
    if node.domain not in STANDARD_DOMAINS:
        return None
    ones, zeros = np.ones(channels), np.zeros(channels)
    if node.op_type == "Identity":
        return Affine(ones, zeros), ""
    if node.op_type == "BatchNormalization":
        return _batch_norm(node, channels, constants)
    if node.op_type not in ("Add", "Sub", "Mul", "Div"):
        return None
    first = node.inputs[0] is value
    vector = channel_vector(constants.get(node.inputs[1 if first else 0]), rank, channels)
    if vector is None:
        return None
    number: NDArray[np.float64] = vector.astype(np.float64)
    if node.op_type == "Add":
        return Affine(ones, number), "add"
    if node.op_type == "Mul":
        return Affine(number, zeros), "mul"
    if node.op_type == "Sub":
        return (Affine(ones, -number), "add") if first else (Affine(-ones, number), "add")
    if not first or not np.all(number):
        return None
    reciprocal_is_exact = bool(np.all(np.frexp(number)[0] == np.copysign(0.5, number)))
    return Affine(1.0 / number, zeros), "mul" if reciprocal_is_exact else "both"


def _batch_norm(node: ir.Node, channels: int, constants: Constants) -> tuple[Affine, str] | None:
    if node.attributes.get_int("training_mode", 0) or any(output.uses() for output in node.outputs[1:]):
        return None
    arrays = [constants.get(entry) for entry in node.inputs[1:5]]
    if any(array is None or array.shape != (channels,) for array in arrays):
        return None
    gamma, beta, mean, variance = (np.asarray(array) for array in arrays)
    epsilon = node.attributes.get_float("epsilon", 1e-5)
    try:
        return batch_norm_affine(gamma, beta, mean, variance, float(epsilon or 0.0), label(node)), "both"
    except UnsupportedError:
        return None  # it stays a batch norm, whatever it computes
