"""How each value of a graph lies in the memory of our kernels: as images, as rows, or as rows of a value of more axes.

::

    [N, C, H, W]  image, channels last      ·  [N, C, T]        an image too, of one row of pixels
    [R, C]        rows                      ·  [N, T, C], [N, H, W, C] behind a Transpose: tokens, which are rows too

Channels lie side by side in all of them, and pixels in one order. So a Transpose from ``[N, C, H, W]`` to
``[N, H, W, C]`` or a Reshape to ``[N·H·W, C]`` moves nothing: what it gives is its source by another name.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray

from ..intake.model import Model
from ..operators import STANDARD_DOMAINS
from .chain import STAGES
from .graph import Graph, same_shape
from .parts import Part
from .regroup import pixel_order, transforms
from .route import size_of

__all__ = ["Layout", "Layouts"]

_Rows = tuple[int, tuple[str, ...]]
"""A number of rows: an integer times sizes that only a run knows, by name."""


@dataclass(frozen=True)
class Layout:
    """``rank`` 4: images. 2: rows of a value of two axes. 3: rows of a value of more axes, of which the last is C."""

    rank: int
    channels: int


class Layouts:
    """The layouts of the values of a graph, for ``parts`` that make images and rows."""

    def __init__(self, model: Model, graph: Graph, parts: Sequence[Part]) -> None:
        self._model = model
        self._of: dict[str, Layout | None] = {}
        self._rows: dict[str, _Rows] = {}
        self.moved: dict[str, tuple[str, NDArray[np.int64]]] = {}
        """By value whose pixels it has, and in which order (plan/regroup.py)."""
        made = {part.output: part for part in parts}
        self._graph = graph
        for node in graph.nodes:  # a file is sorted
            for name in node.output:
                if (part := made.get(name)) is not None:
                    if part.rank == 2 and (rows := self._rows_of(part.reads[0])) is not None:
                        self._rows[name] = rows  # a dense layer keeps rows
                    continue
                standard = node.domain in STANDARD_DOMAINS
                found = (self._continued(node, name) or self._regrouped(name)) if standard else None
                if found is not None:
                    self._of[name] = found

    def of(self, name: str) -> Layout | None:
        """Return the layout of a float32 value; None where it has none of ours."""
        if name not in self._of:
            size, shape = size_of(self._model, name), self._shape(name)
            self._of[name] = (
                Layout(*size) if size is not None else self._tokens(shape or ()) if self.axes(name) == 3 else None
            )
        return self._of[name]

    def size(self, name: str) -> tuple[int, int] | None:
        """Return the rank and the channels of a layout."""
        found = self.of(name)
        return None if found is None else (found.rank, found.channels)

    def rank(self, name: str) -> int:
        """Return the rank of a layout, 0 for a value that has none."""
        found = self.of(name)
        return 0 if found is None else found.rank

    def axes(self, name: str) -> int:
        """Return how many axes a float32 value has in the file, 0 where it is not known."""
        return len(self._shape(name) or ())

    def alike(self, first: str, second: str) -> bool:
        """Tell whether two values provably have one shape."""
        if same_shape(self._model, first, second):
            return True
        one, two, rows = self.of(first), self.of(second), self._rows_of(first)
        if one is None or one != two or rows is None or rows != self._rows_of(second):
            return False
        shapes = [self._shape(name) or () for name in (first, second)]
        sides = [shape[2:] if one.rank == 4 else shape[1:-1] for shape in shapes]
        return len(shapes[0]) == len(shapes[1]) and sides[0] == sides[1] and all(_whole(side) for side in sides)

    def renames(self, name: str, node: onnx.NodeProto) -> bool:
        """Tell whether the node that makes a value only names its source anew, whose layout it continues."""
        if node.domain not in STANDARD_DOMAINS or node.op_type not in ("Reshape", "Transpose"):
            return False
        source, found = self.of(node.input[0]), self.of(name)
        return source is not None and found is not None and self._renamed(node, name, source) == found

    def _continued(self, node: onnx.NodeProto, name: str) -> Layout | None:
        """Return the layout that a value has because of what it is made of; None for that of its number of axes."""
        shape = self._shape(name)
        if shape is None or not node.input:
            return None
        if node.op_type == "LayerNormalization":
            found = self._tokens(shape) if name == node.output[0] and _axis(node) in (-1, len(shape) - 1) else None
            self._keep_rows(name, str(node.input[0]), found)
            return found
        source = next((str(value) for value in node.input if value not in self._model.constants), "")
        layout = self.of(source) if source else None
        if layout is None:
            return None
        if node.op_type in ("Reshape", "Transpose"):
            found = self._renamed(node, name, layout)
        elif node.op_type in STAGES and self.axes(source) == len(shape) and name == node.output[0]:
            found = layout if shape[1 if layout.rank == 4 else -1] == layout.channels else None
        else:
            return None
        self._keep_rows(name, source, found)
        return found

    def _regrouped(self, name: str) -> Layout | None:
        """Return the layout of a value that Reshapes and Transposes make of pixels in another order.

        Of the values that it can be made of the first in the file counts.
        """
        steps: list[tuple[str, tuple[int, ...]]] = []
        best, value, shape = None, name, self._shape(name)
        if shape is None or all(self._moves(reader) for reader in self._graph.consumers.get(name, [])):
            return None  # the last one of them all is asked
        while (index := self._graph.producer.get(value)) is not None:
            step = transforms(self._model, self._graph.nodes[index])
            if step is None:
                break
            steps.insert(0, step)
            value = str(self._graph.nodes[index].input[0])
            source, rows = self.of(value), self._rows_of(value)
            count = 2 if rows is not None and rows[1] else 1
            axes = None if rows is None or len(rows[1]) > 1 else self._sizes(value, count * rows[0])
            if source is None or rows is None or axes is None:
                continue
            for layout in (self._image(shape, source.channels), self._tokens(shape)):
                if layout is None or layout.channels != source.channels:
                    continue
                images = source.rank == 4, layout.rank == 4
                order = pixel_order(count, rows[0], source.channels, (images[0], axes), steps, images[1])
                if order is not None:
                    best, self.moved[name], self._rows[name] = layout, (value, order), rows
                    break
        return best

    def _moves(self, index: int) -> bool:
        return transforms(self._model, self._graph.nodes[index]) is not None

    def _sizes(self, name: str, pixels: int) -> list[int] | None:
        """Return the axes of a value of so many pixels; None where more than one is not known.

        Where all are known its images must be one.
        """
        shape, layout = self._shape(name) or (), self.of(name)
        known = [size for size in shape if isinstance(size, int)]
        if layout is None or len(shape) - len(known) > 1 or 0 in known:
            return None
        if len(shape) == len(known) and layout.rank == 4 and shape[0] != 1:
            return None
        free = pixels * layout.channels // math.prod(known)
        return [size if isinstance(size, int) else free for size in shape]

    def _keep_rows(self, name: str, source: str, found: Layout | None) -> None:
        """Note that a value has the rows of its source, whatever the file calls their number."""
        before, rows = self.of(source), self._rows_of(source)
        if found is not None and before is not None and rows is not None and before.channels == found.channels:
            self._rows[name] = rows

    def _renamed(self, node: onnx.NodeProto, name: str, source: Layout) -> Layout | None:
        before, after = self._shape(str(node.input[0])), self._shape(name)
        if before is None or after is None:
            return None
        images = source.rank == 4
        if node.op_type == "Transpose":
            perm = next((tuple(entry.ints) for entry in node.attribute if entry.name == "perm"), ())
            if images and perm in ((0, 2, 3, 1), (0, 2, 1)):
                return self._tokens(after)
            turned = not images and perm in ((0, 3, 1, 2), (0, 2, 1)) and len(before) > 2
            return self._image(after, source.channels) if turned else None
        if len(node.input) != 2 or node.input[1] not in self._model.constants:
            return None  # the shape would be what the file claims
        if sum(not isinstance(size, int) for size in before) != sum(not isinstance(size, int) for size in after):
            return None  # one of the two is of so many images as the file says
        if images:
            pixels = [math.prod(size for size in shape[2:] if isinstance(size, int)) for shape in (before, after)]
            fits = len(after) > 2 and after[1] == source.channels and pixels[0] == pixels[1]
            return self._image(after, source.channels) if fits and _whole(before[2:]) else None
        return self._tokens(after) if after[-1:] == (source.channels,) else None

    def _tokens(self, shape: Sequence[int | str | None]) -> Layout | None:
        """Return the layout of rows with these axes, of which a run may tell one size."""
        channels = shape[-1] if len(shape) > 1 else None
        unknown = sum(not isinstance(size, int) for size in shape)
        if not isinstance(channels, int) or unknown > 1:
            return None
        return Layout(2 if len(shape) == 2 else 3, channels)

    def _image(self, shape: Sequence[int | str | None], channels: int) -> Layout | None:
        fits = len(shape) in (3, 4) and shape[1] == channels and _whole(shape[2:])
        return Layout(4, channels) if fits else None

    def _shape(self, name: str) -> tuple[int | str | None, ...] | None:
        known = self._model.types.get(name)
        return known.shape if known is not None and known.elem == onnx.TensorProto.FLOAT else None

    def _rows_of(self, name: str) -> _Rows | None:
        """Return the number of rows, or of pixels, of a value; None where it is not known even by name."""
        if name in self._rows:
            return self._rows[name]
        layout, shape = self.of(name), self._shape(name)
        if layout is None or shape is None:
            return None
        sizes = [
            _Size.parse(size) for axis, size in enumerate(shape) if axis != (1 if layout.rank == 4 else len(shape) - 1)
        ]
        if None in sizes:
            return None
        known = [size for size in sizes if size is not None]
        return math.prod(number for number, _ in known), tuple(sorted(symbol for _, symbol in known if symbol))


class _Size:
    """Sizes as files write them: 64, N, 256*N."""

    _FORM = re.compile(r"(?:(\d+)\*)?(\w+)")

    @classmethod
    def parse(cls, size: int | str | None) -> tuple[int, str] | None:
        """Return a size as an integer times a name, which may be empty; None for one that is neither."""
        if isinstance(size, int):
            return size, ""
        found = cls._FORM.fullmatch(size or "")
        return None if found is None else (int(found[1] or 1), found[2])


def _whole(sizes: Sequence[int | str | None]) -> bool:
    return all(isinstance(size, int) for size in sizes)


def _axis(node: onnx.NodeProto) -> int:
    return next((entry.i for entry in node.attribute if entry.name == "axis"), -1)
