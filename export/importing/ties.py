"""Where rounding decides: sums that are exactly 0 before a sign, and quantisers of several bits behind rounded sums.

A packed layer adds integers and rounds once. Its source rounds at every step, so a sum next to a border may fall on the
other side there.
"""

from collections.abc import Container, Iterator

import onnx_ir as ir

from ...runtime.operators import STANDARD_DOMAINS, sign_sources
from ..graph.constants import Constants
from .layers import is_layer, told, words_of

__all__ = ["find_tie", "is_never_zero", "quantiser_behind"]

_MIRRORS = frozenset({"Neg", "Abs"})
"""Operators that give 0 for 0 and for nothing else."""

_KEEPERS = _MIRRORS | {"Relu", "Clip", "Mul", "Div"}
"""Operators behind which a 0 is still a tie; the second operand of a Mul or Div is constant."""

_SIGNS = frozenset({"Binarize", "Sign", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"})

_BORDERS = frozenset({"Round", "Floor", "Ceil", "QuantizeLinear"})


def is_never_zero(value: ir.Value | None, never: Container[ir.Value]) -> bool:
    """Tell whether a value is one of ``never``, or made of such by operators that keep what is not 0."""
    if value is None:
        return False
    if value in never:
        return True
    node = value.producer()
    if node is None or node.domain not in STANDARD_DOMAINS or value.index():
        return False
    sources = (
        node.inputs
        if node.op_type in _MIRRORS
        else sign_sources(node.op_type, node.domain, node.inputs, words_of(node))
    )
    return bool(sources) and all(is_never_zero(source, never) for source in sources)


def find_tie(value: ir.Value | None, rounded: Container[ir.Value], constants: Constants) -> ir.Value | None:
    """Return the member of ``rounded`` whose 0 is a 0 of ``value``, None where there is none."""
    if value is None or value in rounded:
        return value
    node = value.producer()
    if node is None or node.domain not in STANDARD_DOMAINS or value.index():
        return None
    sources = sign_sources(node.op_type, node.domain, node.inputs, words_of(node))
    if node.op_type in _KEEPERS:
        sources = [entry for entry in node.inputs if constants.get(entry) is None]
        sources = sources if len(sources) == 1 else []
    found = (find_tie(source, rounded, constants) for source in sources if source is not None)
    return next((tie for tie in found if tie is not None), None)


def quantiser_behind(value: ir.Value) -> str:
    """Return operator and name of the first node between ``value`` and the next layer that rounds it, or ""."""
    seen: set[ir.Node] = set()
    for node in _behind(value, seen):
        if node.op_type in _BORDERS and node.domain in STANDARD_DOMAINS:
            return told(node)
    return ""


def _behind(value: ir.Value, seen: set[ir.Node]) -> Iterator[ir.Node]:
    """Yield the nodes behind a value in order, up to the layers and the signs."""
    waiting = [value]
    while waiting:
        for node in waiting.pop(0).consumers():
            if node in seen or node.op_type in _SIGNS or is_layer(node):
                continue
            seen.add(node)
            yield node
            waiting += node.outputs
