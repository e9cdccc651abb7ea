"""Which values are stairs (:mod:`.stairs`), whatever operators they are written in.

Binary networks write their activation in many ways: ``Where(x >= 0, 1, -1)``, ``2·Cast(x > 0) − 1``, ``Sign``,
``Round(Clip(x, 0, 1))``, a batch norm before any of them. Nothing is matched by its looks. Operators that keep order
are followed back to the value that they start from, and the whole chain is carried out.
"""

from collections.abc import Collection
from dataclasses import replace
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from ...runtime.bits import DOMAIN
from ...runtime.operators import STANDARD_DOMAINS
from ..graph.constants import Constants
from .elementwise import apply, is_discrete, is_elementwise, keeps_order
from .layers import label, shape_of
from .ranges import Ranges
from .stairs import Link, Stairs, combined, discovered, run_chain
from .uniform import Uniform

__all__ = ["StairsReader"]


class StairsReader:
    """Finds the stairs of one graph; each value is read once.

    straight_through: take ``hard − soft + soft`` as ``hard``. barriers: values that are not looked behind.
    """

    def __init__(
        self, constants: Constants, *, straight_through: bool = False, barriers: Collection[ir.Value] = ()
    ) -> None:
        self._constants, self._uniform, self.ranges = constants, Uniform(constants), Ranges(constants)
        self.straight_through = straight_through
        self._barriers = set(barriers)
        self._known: dict[ir.Value, Stairs | None] = {}

    def get(self, value: ir.Value | None) -> Stairs | None:
        """Return ``value`` as stairs, None where it is none."""
        if value is None or value in self._barriers:
            return None
        if value not in self._known:
            self._known[value] = None  # a graph has no circles; who asks in between gets no wrong answer
            with np.errstate(all="ignore"):
                self._known[value] = self._read(value)
        return self._known[value]

    def is_straight_through(self, node: ir.Node) -> bool:
        """Tell whether a node is ``hard − soft + soft`` with a hard value of few levels."""
        return self._hard(node) is not None

    def behind(self, barriers: Collection[ir.Value]) -> "StairsReader":
        """Return a reader that does not look behind these values."""
        return StairsReader(
            self._constants, straight_through=self.straight_through, barriers=[*self._barriers, *barriers]
        )

    def _read(self, value: ir.Value) -> Stairs | None:
        node = value.producer()
        if node is None or value.index():
            return None
        if node.domain == DOMAIN and node.op_type == "Binarize":
            return self._binarize(node)
        if not is_elementwise(node):
            return None
        found = self._of_stairs(node)
        if found is None and node.op_type == "Equal":
            found = self._equal(node)
        if found is None and (link := self._link(node)) is not None:
            source = node.inputs[link.place]
            assert source is not None
            found = self._through(source, (link,), ())
        if found is None and self.straight_through:
            found = self._hard(node)
        return found

    def _binarize(self, node: ir.Node) -> Stairs | None:
        """Read our own operator: −1 for NaN too."""
        source, threshold = node.inputs[0], self._operand(node, 1)
        if source is None or threshold is None or not np.all(np.isfinite(threshold)):
            return None
        low, high = np.full_like(threshold, -1), np.ones_like(threshold)
        return Stairs(source, threshold[None], np.stack([low, high, low]))

    def _of_stairs(self, node: ir.Node) -> Stairs | None:
        """Carry an operator out on the levels of its operands, stairs of one source beside constants."""
        found = [self.get(entry) for entry in node.inputs]
        first = next((stairs for stairs in found if stairs is not None), None)
        if first is None:
            return None
        operands: list[NDArray[Any] | Stairs | None] = []
        for index, (stairs, entry) in enumerate(zip(found, node.inputs, strict=True)):
            operand = stairs if stairs is not None else self._operand(node, index)
            if entry is not None and operand is None:
                return None  # a real value takes part
            if isinstance(operand, Stairs) and operand.source is not first.source:
                return None
            operands.append(operand)
        return combined(operands, lambda levels: apply(node, levels))

    def _equal(self, node: ir.Node) -> Stairs | None:
        """Read ``x == c``: c is not reached below it and passed above it."""
        arrays = [self._operand(node, index) for index in (0, 1)]
        place = 0 if arrays[0] is None else 1
        source, constant = node.inputs[place], arrays[1 - place]
        if source is None or constant is None or arrays[place] is not None or not _is_float32(source):
            return None
        if constant.dtype != np.float32 or not np.all(np.isfinite(constant)):
            return None
        points = np.stack([constant, np.nextafter(constant, np.float32(np.inf))]) + np.float32(0)
        no = np.zeros_like(constant, np.bool_)
        return Stairs(source, points, np.stack([no, ~no, no, no]))

    def _link(self, node: ir.Node) -> Link | None:
        """Return a node as a link of a chain: one operand, and constants beside which it keeps order."""
        if not is_elementwise(node) or any(output in self._barriers for output in node.outputs):
            return None
        operands = [self._operand(node, index) for index in range(len(node.inputs))]
        open_places = [i for i, entry in enumerate(node.inputs) if entry is not None and operands[i] is None]
        if len(open_places) != 1 or not keeps_order(node, open_places[0], operands):
            return None
        return Link(node, open_places[0], tuple(operands))

    def _through(self, value: ir.Value, chain: tuple[Link, ...], through: tuple[ir.Value, ...]) -> Stairs | None:
        """Return the stairs that a chain of operators makes of a value, None where it makes none."""
        if (stairs := self.get(value)) is not None:
            return combined([stairs], lambda levels: run_chain(chain, levels[0]))
        node = None if value in self._barriers else value.producer()
        if node is not None and (link := self._link(node)) is not None and node.inputs[link.place] is not None:
            before = node.inputs[link.place]
            assert before is not None
            return self._through(before, (link, *chain), (value, *through))
        if node is not None and is_elementwise(node) and node.op_type == "Where":
            choice = self._chosen(node, chain, (value, *through))
            if choice is not None:
                return choice
        if not any(is_discrete(link.node) for link in chain) or not _is_float32(value):
            return None
        return discovered(value, chain, through, self.ranges.get(value))

    def _chosen(self, node: ir.Node, chain: tuple[Link, ...], through: tuple[ir.Value, ...]) -> Stairs | None:
        """Push a chain into both branches of a Where whose condition is stairs: a clamp that is written with Where."""
        condition = self.get(node.inputs[0])
        operands: list[NDArray[Any] | Stairs | None] = [condition]
        for index in (1, 2):
            branch, constant = node.inputs[index], self._operand(node, index)
            assert branch is not None
            operands.append(
                run_chain(chain, constant) if constant is not None else self._through(branch, chain, through)
            )
        if condition is None or any(entry is None for entry in operands):
            return None
        if any(isinstance(entry, Stairs) and entry.source is not condition.source for entry in operands):
            return None
        return combined(operands, lambda levels: np.where(*levels))

    def _hard(self, node: ir.Node) -> Stairs | None:
        """Read ``(hard − soft) + soft`` or ``(hard + soft) − soft`` as ``hard``; float32 rounds it otherwise."""
        if node.op_type not in ("Add", "Sub"):
            return None
        for one, other in ((0, 1), (1, 0))[: 2 if node.op_type == "Add" else 1]:
            inner = _maker(node.inputs[one])
            if inner is None or inner.op_type != {"Add": "Sub", "Sub": "Add"}[node.op_type]:
                continue
            for hard, soft in ((0, 1), (1, 0))[: 1 if node.op_type == "Add" else 2]:
                if _itself(inner.inputs[soft]) is _itself(node.inputs[other]):
                    stairs = self.get(inner.inputs[hard])
                    if stairs is not None:
                        note = f"hard − soft + soft in {label(node)} is taken as hard; in the source it differs from "
                        note += "that by up to 1.2e-7·(|hard| + |soft|), the rounding of float32 (straight_through)"
                        return replace(stairs, notes=(*stairs.notes, note), rounded=True)
        return None

    def _operand(self, node: ir.Node, index: int) -> NDArray[Any] | None:
        """Return a constant operand with the axes of the node's result, None where it is no constant."""
        entry = node.inputs[index]
        array = self._uniform.get(entry, node)
        shape = shape_of(node.outputs[0]) or shape_of(node.inputs[0])
        if array is None or shape is None or array.ndim > len(shape):
            return None if array is None or array.ndim else array
        if node.op_type == "BatchNormalization":
            return array.reshape(1, -1, *(1,) * (len(shape) - 2)) if len(shape) > 1 else None
        return array.reshape((1,) * (len(shape) - array.ndim) + array.shape)


def _maker(value: ir.Value | None) -> ir.Node | None:
    value = _itself(value)
    node = None if value is None else value.producer()
    return node if node is not None and node.domain in STANDARD_DOMAINS else None


def _itself(value: ir.Value | None) -> ir.Value | None:
    """Return what Identity (a detach) hands on."""
    while value is not None and (node := value.producer()) is not None and node.op_type == "Identity":
        value = node.inputs[0]
    return value


def _is_float32(value: ir.Value) -> bool:
    return value.dtype is None or value.dtype == ir.DataType.FLOAT
