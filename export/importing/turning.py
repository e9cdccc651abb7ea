"""Transposes between layers whose channels lie last, moved out of the way: pairs that cancel vanish.

Such a file turns every value behind a layer, and back in front of the next one. Here a Transpose sinks below the
operators that read it, until it meets the one that turns back::

    layer ─ Transpose ─ Mul ─ Add ─ Sign ─ Transpose ─ layer        before
    layer ─ Mul ─ Add ─ Sign ─ layer                                after

A Transpose sinks only towards one that turns back, or below an operator that joins two; every other one stays. The
operators compute the same numbers; constants with a number per channel get their channels on the other axis.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir.passes.common import RemoveUnusedNodesPass

from ...runtime.bits import DOMAIN
from ...runtime.operators import STANDARD_DOMAINS
from ..graph.constants import Constants
from .elementwise import ELEMENTWISE
from .layers import label
from .rewriting import Rewriting
from .uniform import Uniform
from .views import sizes_of

__all__ = ["cancel_transposes"]

Perm = tuple[int, ...]


def cancel_transposes(model: ir.Model) -> None:
    """Let Transposes vanish that turn a value and back, also where other operators lie between them, in place."""
    turner = _Turner(model)
    for node in list(model.graph):
        turner.turn(node)
    RemoveUnusedNodesPass()(model)


class _Turner:
    """``_wanted`` are the orders of axes that some Transpose below a value turns back."""

    def __init__(self, model: ir.Model) -> None:
        self._rewriting, self._constants = Rewriting(model), Constants(model)
        self._uniform = Uniform(self._constants)
        self._graph = model.graph
        self._wanted: dict[ir.Value, set[Perm]] = defaultdict(set)
        for node in reversed(model.graph):
            perm = _perm_of(node)
            below = self._wanted[node.outputs[0]] if _may_turn(node) else {_inverse(perm)} if perm else set()
            for value in node.inputs:
                if value is not None and below:
                    self._wanted[value] |= below

    def turn(self, node: ir.Node) -> None:
        """Let a node read what the Transposes before it read, or take it out where it is one and turns back."""
        perm, result = _perm_of(node), node.outputs[0]
        if perm is not None:
            before = _turned(node.inputs[0], _inverse(perm))
            if before is not None and not result.is_graph_output():
                result.replace_all_uses_with(before)
            return
        found = {perm for value in node.inputs if (perm := _perm_of(None if value is None else value.producer()))}
        perm = found.pop() if len(found) == 1 else None
        if perm is None or not _may_turn(node) or not (perm in self._wanted[result] or _joins(node)):
            return
        operands = self._operands(node, perm)
        sizes = sizes_of(result)
        if operands is None or sizes is None or len(sizes) != len(perm):
            return
        for index, operand in operands.items():
            if isinstance(operand, ir.Value):
                node.replace_input_with(index, operand)
            else:
                self._rewriting.set_constant(node, index, operand)
        if node.op_type == "Concat":
            axis = (node.attributes.get_int("axis") or 0) % len(perm)
            node.attributes["axis"] = ir.AttrInt64("axis", perm[axis])
        self._turn_behind(node, perm, sizes)

    def _turn_behind(self, node: ir.Node, perm: Perm, sizes: Sequence[Any]) -> None:
        result = node.outputs[0]
        name = self._rewriting.unique(f"{label(node)}.transpose")
        after = ir.node("Transpose", [None], {"perm": list(perm)}, name=name)
        after.metadata_props.update(node.metadata_props)
        turned = after.outputs[0]
        turned.name, turned.type, turned.shape = self._rewriting.unique(f"{name}.out"), result.type, result.shape
        self._graph.insert_after(node, after)
        ir.convenience.replace_all_uses_with(result, turned, replace_graph_outputs=True)
        after.replace_input_with(0, result)
        turned.name, result.name = result.name, turned.name
        result.shape = ir.Shape([sizes[axis] for axis in _inverse(perm)])
        self._wanted[turned] = self._wanted[result]

    def _operands(self, node: ir.Node, perm: Perm) -> dict[int, ir.Value | NDArray[Any]] | None:
        """Return the inputs that change: values before they were turned, and constants; None where one cannot."""
        found: dict[int, ir.Value | NDArray[Any]] = {}
        for index, value in enumerate(node.inputs):
            if value is None:
                continue
            if (before := _turned(value, perm)) is not None:
                found[index] = before
                continue
            array = self._constants.get(value) if node.op_type == "Concat" else self._uniform.get(value, node)
            if array is None:
                if any(size != 1 for size in sizes_of(value) or [None]):
                    return None  # a real value of the other order
            elif array.ndim > len(perm):
                return None
            elif array.size > 1 or self._constants.get(value) is None:
                full = array.reshape((1,) * (len(perm) - array.ndim) + array.shape)
                found[index] = full.transpose(_inverse(perm)) if array.size > 1 else array
        return found


def _may_turn(node: ir.Node) -> bool:
    """Tell whether an operator gives the same numbers in another order where its operands have another order."""
    if node.domain == DOMAIN:
        return node.op_type == "Binarize"
    return node.domain in STANDARD_DOMAINS and (node.op_type in ELEMENTWISE or node.op_type == "Concat")


def _joins(node: ir.Node) -> bool:
    """Tell whether one Transpose behind a node takes the place of two before it, one of which nobody else reads."""
    makers = {maker for value in node.inputs if value is not None and _perm_of(maker := value.producer())}
    alone = [maker for maker in makers if maker is not None and len(set(maker.outputs[0].consumers())) == 1]
    return len(makers) > 1 and bool(alone) and not any(maker.outputs[0].is_graph_output() for maker in alone)


def _perm_of(node: ir.Node | None) -> Perm | None:
    """Return the order of axes that a Transpose gives; None for every other node, and for one that names none."""
    if node is None or node.op_type != "Transpose" or node.domain not in STANDARD_DOMAINS:
        return None
    return tuple(node.attributes.get_ints("perm", []) or []) or None


def _turned(value: ir.Value | None, perm: Perm) -> ir.Value | None:
    """Return what a value was before it was turned by ``perm``, None where it was not."""
    maker = None if value is None else value.producer()
    return maker.inputs[0] if maker is not None and _perm_of(maker) == perm else None


def _inverse(perm: Perm) -> Perm:
    return tuple(int(axis) for axis in np.argsort(perm))
