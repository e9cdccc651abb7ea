"""Nearest upsampling by whole factors of images that our kernels make: pixels are repeated, and no number changes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import onnx

from ..intake.model import Model
from ..operators import STANDARD_DOMAINS
from .graph import Graph, stated_attributes

__all__ = ["Upsample", "UpsampleOf", "match_upsample"]

_FLOOR = {(b"asymmetric", b"floor"), (b"half_pixel", b"round_prefer_floor")}
"""How coordinates may be turned and rounded: for whole factors k, pixel i of the result is pixel ⌊i / k⌋ in each."""


@dataclass(frozen=True)
class UpsampleOf:
    """What a node repeats, and the height and width of the result."""

    source: str
    size: tuple[int, int]

    @property
    def reads(self) -> tuple[str, ...]:
        """The source alone."""
        return (self.source,)


@dataclass(frozen=True, eq=False)
class Upsample:
    """Nearest upsampling as one part, of a value with so many ``channels``."""

    kind: ClassVar[str] = "float"
    rank: ClassVar[int] = 4

    name: str
    output: str
    channels: int
    of: UpsampleOf
    nodes: tuple[int, ...]
    ops: tuple[str, ...]

    @property
    def reads(self) -> tuple[str, ...]:
        """The source alone."""
        return self.of.reads


def match_upsample(model: Model, graph: Graph, node: onnx.NodeProto) -> UpsampleOf | None:
    """Return what a Resize repeats, None for a node that does anything else, or of sizes that are not known."""
    if node.op_type != "Resize" or node.domain not in STANDARD_DOMAINS or len(node.input) < 3:
        return None
    given = stated_attributes(node)
    if given is None:
        return None
    turned = given.get("coordinate_transformation_mode", b"half_pixel")
    rounded = given.get("nearest_mode", b"round_prefer_floor")
    if given.get("mode", b"nearest") != b"nearest" or (turned, rounded) not in _FLOOR or "axes" in given:
        return None
    known = model.types.get(node.input[0])
    if known is None or known.shape is None or len(known.shape) != 4:
        return None
    before = [size for size in known.shape[2:] if isinstance(size, int) and size > 0]
    if len(before) != 2 or given.get("keep_aspect_ratio_policy", b"stretch") != b"stretch":
        return None
    size = _size(model, graph, node, before)
    if size is None or any(large < small or large % small for large, small in zip(size, before, strict=True)):
        return None
    return UpsampleOf(str(node.input[0]), size)


def _size(model: Model, graph: Graph, node: onnx.NodeProto, before: Sequence[int]) -> tuple[int, int] | None:
    """Return height and width of the result: of constant scales or sizes, or of sizes as torch's exporter has them."""
    if node.input[2]:
        scales = model.constants.get(node.input[2])
        whole = scales is not None and scales.shape == (4,) and np.all(scales == np.floor(scales))
        if scales is None or not whole or scales[:2].tolist() != [1, 1]:
            return None
        return int(before[0] * scales[2]), int(before[1] * scales[3])
    name = str(node.input[3]) if len(node.input) > 3 else ""
    sizes = model.constants.get(name)
    if sizes is None and (maker := graph.producer.get(name)) is not None:
        sizes = _behind_batch_and_channels(model, graph, graph.nodes[maker], str(node.input[0]))
    elif sizes is not None:
        known = model.types[node.input[0]].shape
        sizes = sizes[2:] if sizes.shape == (4,) and known is not None and sizes[:2].tolist() == [*known[:2]] else None
    return None if sizes is None or sizes.shape != (2,) else (int(sizes[0]), int(sizes[1]))


def _behind_batch_and_channels(model: Model, graph: Graph, node: onnx.NodeProto, source: str) -> Any:
    """Return the constant of ``Concat(Shape(source, start=0, end=2), constant)``."""
    if node.op_type != "Concat" or len(node.input) != 2 or node.input[0] not in graph.producer:
        return None
    shape = graph.nodes[graph.producer[node.input[0]]]
    given = {entry.name: entry.i for entry in shape.attribute}
    if shape.op_type != "Shape" or shape.input[0] != source or (given.get("start", 0), given.get("end")) != (0, 2):
        return None
    return model.constants.get(node.input[1])
