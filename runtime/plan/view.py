"""A view: Flatten, Reshape or Squeeze of images of one pixel ``[N, C, 1, 1]`` to rows ``[N, C]``; nothing is copied."""

from dataclasses import dataclass
from typing import Any, ClassVar

import onnx

from ..intake.model import Model
from ..operators import STANDARD_DOMAINS
from .graph import Graph

__all__ = ["View", "match_view"]


@dataclass(frozen=True, eq=False)
class View:
    """``output[n, c] = source[n, c, 0, 0]``, in the same memory; ``rows`` is N where the node allows no other."""

    kind: ClassVar[str] = "float"
    rank: ClassVar[int] = 2

    name: str
    source: str
    output: str
    channels: int
    rows: int | None
    nodes: tuple[int, ...]
    ops: tuple[str, ...]

    @property
    def reads(self) -> tuple[str, ...]:
        """The source alone."""
        return (self.source,)


def match_view(model: Model, graph: Graph, index: int, channels: int) -> View | None:
    """Return the view that node ``index`` is of images of one pixel, None for a node that does anything else.

    Behind convolutions over time a Squeeze takes one axis away before; the view then is of what that reads.
    """
    node = graph.nodes[index]
    fits, rows = _gives_rows(model, node, channels)
    if not fits:
        return None
    source, output = str(node.input[0]), str(node.output[0])
    maker = graph.producer.get(source)
    if maker is not None and graph.nodes[maker].op_type == "Squeeze":
        source = _squeezed(model, graph.nodes[maker]) or source
    known = model.types.get(source)
    if known is None or known.image_size != (1, 1):
        return None
    return View(str(node.name or output), source, output, channels, rows, (index,), (node.op_type,))


def _gives_rows(model: Model, node: onnx.NodeProto, channels: int) -> tuple[bool, int | None]:
    """Return whether a node keeps the first two axes and leaves out the rest, and the rows where it states them."""
    known = model.types.get(node.input[0]) if node.input else None
    if node.domain not in STANDARD_DOMAINS or known is None or known.shape is None or len(known.shape) < 3:
        return False, None
    rank = len(known.shape)
    if node.op_type == "Flatten":
        return _attribute(node, "axis", 1) in (1, 1 - rank), None
    if node.op_type == "Squeeze":
        return sorted(axis % rank for axis in _axes(model, node)) == list(range(2, rank)), None
    shape = _second(model, node) if node.op_type == "Reshape" and not _attribute(node, "allowzero", 0) else []
    fits = len(shape) == 2 and shape[1] in (channels, -1) and shape[0] >= -1 and shape != [-1, -1]
    return fits, shape[0] if fits and shape[0] > 0 else None


def _squeezed(model: Model, node: onnx.NodeProto) -> str | None:
    """Return what a Squeeze takes the third or the fourth axis away from, None where it does anything else."""
    axes = _axes(model, node) if node.domain in STANDARD_DOMAINS else []
    return str(node.input[0]) if len(axes) == 1 and axes[0] in (2, 3, -1, -2) else None


def _axes(model: Model, node: onnx.NodeProto) -> list[int]:
    given = _attribute(node, "axes", [])
    return list(given) if given else _second(model, node)


def _second(model: Model, node: onnx.NodeProto) -> list[int]:
    """Return the integers of a constant second input, none where there is no such input."""
    stated = model.constants.get(node.input[1]) if len(node.input) > 1 else None
    return [] if stated is None else [int(number) for number in stated.reshape(-1)]


def _attribute(node: onnx.NodeProto, name: str, missing: Any) -> Any:
    """Return an attribute, or ``missing``; None for one of a function, outside of one."""
    for entry in node.attribute:
        if entry.name == name:
            return None if entry.ref_attr_name else onnx.helper.get_attribute_value(entry)
    return missing
