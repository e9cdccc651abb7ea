"""Shapes of the values in a traced network, found without data."""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn

from ...runtime.errors import UnsupportedError

__all__ = ["annotate_shapes"]


class _ShapeRecorder(fx.Interpreter):
    """Runs a graph on meta tensors and notes the shape of every value."""

    def __init__(self, graph: fx.GraphModule) -> None:
        super().__init__(graph)
        self.shapes: dict[str, tuple[int, ...]] = {}

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        if isinstance(result, Tensor):
            self.shapes[n.name] = tuple(result.shape)
        return result


def annotate_shapes(graph: fx.GraphModule, examples: Sequence[Tensor], dynamic_spatial: bool) -> None:
    """Write ``node.meta["onnx_shape"]``: batch is ``"N"``; sizes that follow the image ``"H"``, ``"W"``, None.

    The graph is run without data (on meta tensors) for a second batch size, and for a second image size where
    ``dynamic_spatial``: what differs is symbolic. Raises UnsupportedError where the network allows no second size.
    """
    # Handed to deepcopy as copies made already, the weights are not copied.
    tensors: dict[int, Any] = {id(p): nn.Parameter(p.to("meta"), requires_grad=False) for p in graph.parameters()}
    tensors |= {id(buffer): buffer.to("meta") for buffer in graph.buffers()}
    weightless = copy.deepcopy(graph, tensors)
    rows = 1 if examples[0].dtype == torch.uint8 else 2  # pixels lie channels last

    def shapes(batch: int, height: int, width: int) -> dict[str, tuple[int, ...]]:
        sizes = [[e.shape[0] + batch, *e.shape[1:]] for e in examples]
        for size in sizes:
            if len(size) == 4:
                size[rows] += height
                size[rows + 1] += width
        recorder = _ShapeRecorder(weightless)
        meta = [torch.empty(size, dtype=e.dtype, device="meta") for size, e in zip(sizes, examples, strict=True)]
        try:
            with torch.no_grad():
                recorder.run(*meta)
        except Exception as error:
            what = (
                "an input of another batch or image size"
                if height or width or batch
                else f"an input of shape {sizes[0]}"
            )
            raise UnsupportedError(f"the network does not accept {what}: {error}") from error
        return recorder.shapes

    first, more = shapes(0, 0, 0), shapes(1, 0, 0)
    taller = shapes(0, 32, 0) if dynamic_spatial else first
    wider = shapes(0, 0, 32) if dynamic_spatial else first
    batch = examples[0].shape[0]
    for node in graph.graph.nodes:
        if node.name not in first:
            continue
        symbolic: list[int | str | None] = []
        for axis, size in enumerate(first[node.name]):
            grown = (more[node.name][axis], taller[node.name][axis], wider[node.name][axis])
            if grown == (size, size, size):
                symbolic.append(size)
            elif grown == (size + 1, size, size) and size == batch:
                symbolic.append("N")
            elif grown == (size, size + 32, size) and size == examples[0].shape[rows]:
                symbolic.append("H")
            elif grown == (size, size, size + 32) and size == examples[0].shape[rows + 1]:
                symbolic.append("W")
            else:
                symbolic.append(None)
        node.meta["onnx_shape"] = symbolic
