"""Slices of everything and writes over everything, which torch leaves where ``y[:, :n]`` is written to in place.

::

    x ─ Slice [0 : all] ─►                                        is x
    x ─ ScatterND at rows Range(0, rows of x), with values v ─►   is v

Both are seen in the graph whatever the size of a batch is.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from ...runtime.operators import STANDARD_DOMAINS

__all__ = ["unchanged"]

_ALL = np.iinfo(np.int64).max
"""The end of a slice that has none, as torch's exporter writes it."""

_Get = Callable[[ir.Value | None], NDArray[Any] | None]


def unchanged(node: ir.Node, get: _Get) -> ir.Value | None:
    """Return the value that a Slice or a ScatterND hands on as it is; None for one that does anything.

    ``get`` returns the array of a constant value, None for any other.
    """
    if node.domain not in STANDARD_DOMAINS:
        return None
    if node.op_type == "Slice" and _takes_all(node, get):
        return node.inputs[0]
    if node.op_type == "ScatterND" and _writes_all(node, get):
        return node.inputs[2]
    return None


def _takes_all(node: ir.Node, get: _Get) -> bool:
    if len(node.inputs) < 3:
        return False
    starts, ends, steps = get(node.inputs[1]), get(node.inputs[2]), None
    if len(node.inputs) > 4 and node.inputs[4] is not None and (steps := get(node.inputs[4])) is None:
        return False
    if starts is None or ends is None or (steps is not None and np.any(steps != 1)):
        return False
    return bool(np.all(starts == 0) and np.all(ends == _ALL))


def _writes_all(node: ir.Node, get: _Get) -> bool:
    if len(node.inputs) != 3 or node.attributes.get_string("reduction", "none") != "none":
        return False
    data, rows, _ = node.inputs
    return data is not None and rows is not None and _are_all_rows(rows, data, get)


def _are_all_rows(rows: ir.Value, data: ir.Value, get: _Get) -> bool:
    """Tell whether ``rows`` is ``[[0], [1], …]`` over the first axis of ``data``."""
    turned = _made_by(rows, "Unsqueeze")
    axes = None if turned is None or len(turned.inputs) < 2 else get(turned.inputs[1])
    if turned is None or axes is None or axes.reshape(-1).tolist() not in ([-1], [1]):
        return False
    counted = turned.inputs[0]
    while (cut := _made_by(counted, "Slice")) is not None and _takes_all(cut, get):
        counted = cut.inputs[0]
    count = _made_by(counted, "Range")
    if count is None or not _is(get(count.inputs[0]), 0) or not _is(get(count.inputs[2]), 1):
        return False
    chosen = _made_by(count.inputs[1], "Gather")
    if chosen is None or chosen.attributes.get_int("axis", 0) != 0 or not _is(get(chosen.inputs[1]), 0):
        return False
    asked = _made_by(chosen.inputs[0], "Shape")
    return asked is not None and asked.inputs[0] is data and asked.attributes.get_int("start", 0) == 0


def _made_by(value: ir.Value | None, op_type: str) -> ir.Node | None:
    """Return the node that makes a value if it is of this type."""
    node = None if value is None else value.producer()
    return node if node is not None and node.op_type == op_type and node.domain in STANDARD_DOMAINS else None


def _is(array: NDArray[Any] | None, number: int) -> bool:
    return array is not None and array.size == 1 and int(array.reshape(-1)[0]) == number
