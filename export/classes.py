"""Ranked classes as outputs: softmax, top-k and the names behind the logits."""

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from ..runtime.errors import ConfigError, UnsupportedError
from .graph.constants import add_constant

__all__ = ["rank_classes"]


def rank_classes(model: ir.Model, top_k: int, labels: Sequence[str] | None) -> None:
    """Add the outputs ``labels`` and ``scores``, ``[N, top_k]``, behind the first output ``[N, classes]``, in place.

    With a ``top_k`` of 0 nothing is added.

    Raises UnsupportedError for an output of another shape, ConfigError for numbers and names that do not fit it.
    """
    if not top_k:
        if labels is not None:
            raise ConfigError("labels are the names of the classes that top_k adds: give top_k too, or no labels")
        return
    graph = model.graph
    logits = graph.outputs[0]
    classes = None if logits.shape is None or len(logits.shape) != 2 else logits.shape[1]
    if not isinstance(classes, int):
        raise UnsupportedError("top_k needs an output [N, classes]; leave it out for this network")
    if not 0 < top_k <= classes:
        raise ConfigError(f"top_k is {top_k}, the network has {classes} classes")
    if labels is not None and len(labels) != classes:
        raise ConfigError(f"labels names {len(labels)} classes, the network has {classes}")
    softmax = ir.node("Softmax", [logits], {"axis": 1}, name="softmax")
    count = add_constant(graph, "top_k", np.array([top_k], np.int64))
    top = ir.node("TopK", [softmax.outputs[0], count], {"axis": 1}, name="top", num_outputs=2)
    best, found = top.outputs
    graph.extend([softmax, top])
    _describe(softmax.outputs[0], "softmax.out", ir.DataType.FLOAT, logits.shape)
    _describe(best, "scores", ir.DataType.FLOAT, ir.Shape(["N", top_k]))
    if labels is None:
        _describe(found, "labels", ir.DataType.INT64, ir.Shape(["N", top_k]))
    else:
        _describe(found, "top.classes", ir.DataType.INT64, ir.Shape(["N", top_k]))
        words = ir.StringTensor([text.encode() for text in labels], shape=ir.Shape([classes]), name="class_names")
        kind = ir.TensorType(ir.DataType.STRING)
        names = ir.Value(name="class_names", shape=ir.Shape([classes]), type=kind, const_value=words)
        graph.register_initializer(names)
        lookup = ir.node("Gather", [names, found], {"axis": 0}, name="class_of")
        graph.append(lookup)
        found = lookup.outputs[0]
        _describe(found, "labels", ir.DataType.STRING, ir.Shape(["N", top_k]))
    graph.outputs.extend([found, best])


def _describe(value: ir.Value, name: str, dtype: ir.DataType, shape: ir.Shape | None) -> None:
    value.name, value.type, value.shape = name, ir.TensorType(dtype), shape
