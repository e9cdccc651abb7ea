"""The hand-over to export: a torch network becomes an onnx-ir model.

``export_onnx`` of :mod:`latentbit.export` calls :func:`read_module` for any ``torch.nn.Module``.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ...export.builder import GraphBuilder, Shape
from ..layers.shapes import annotate_shapes
from .emission import Emitter, emit_graph
from .emitters.functions import FUNCTIONS, METHODS
from .emitters.layers import MODULES
from .fold import fold
from .pixels import Pixels

__all__ = ["read_module", "register_emitter"]


def register_emitter(kind: Any, emitter: Emitter) -> None:
    """Teach the exporter a module type, a function or the name of a tensor method (docs/export.md shows how).

    The emitter is called with an :class:`.emission.Emission`, for a module with that module, and with the arguments of
    the call; it returns an ONNX value. A module type registered here is kept whole while the network is traced.
    """
    if isinstance(kind, type) and issubclass(kind, nn.Module):
        MODULES[kind] = emitter
    elif isinstance(kind, str):
        METHODS[kind] = emitter
    else:
        FUNCTIONS[kind] = emitter


def read_module(
    network: nn.Module,
    example_input: Tensor | NDArray[Any] | Sequence[Tensor | NDArray[Any]],
    *,
    pixels: Pixels | None = None,
    exact_stem: bool = False,
    int8_weights: bool = False,
    dynamic_spatial: bool = False,
    output_name: str = "logits",
    top_k: int = 0,
    labels: Sequence[str] = (),
) -> ir.Model:
    """Turn a torch network into an onnx-ir model: fold (if it is not folded yet), find the shapes, emit.

    example_input: a tensor or array, or one an argument of ``forward``; with ``pixels`` a uint8 image ``[N, H, W, C]``.
    pixels, exact_stem, int8_weights: see :func:`.fold.fold`.
    dynamic_spatial: let the image size be symbolic too (``"H"``, ``"W"``); the batch always is (``"N"``).
    top_k: add the outputs ``labels`` and ``scores``, ``[N, top_k]``: the k most probable classes and their softmax.
    labels: names of the classes; without them the output ``labels`` holds class numbers (int64).
    Names in the model are module paths.
    """
    folded = fold(network, pixels=pixels, exact_stem=exact_stem, int8_weights=int8_weights)
    single = isinstance(example_input, Tensor | np.ndarray)
    examples = [torch.as_tensor(example) for example in ([example_input] if single else example_input)]
    annotate_shapes(folded, examples, dynamic_spatial)
    builder = GraphBuilder(type(network).__name__)
    outputs = emit_graph(folded, builder, {**MODULES, **FUNCTIONS, **METHODS}, examples, output_name)
    if top_k:
        _rank_classes(builder, outputs[0], top_k, labels)
    return builder.model({})


def _rank_classes(builder: GraphBuilder, logits: ir.Value, top_k: int, labels: Sequence[str]) -> None:
    """Write softmax, top-k and the lookup of the labels behind the logits."""
    scores = builder.node("Softmax", [logits], "softmax", ["N", None], axis=1)
    count = builder.constant("top_k", np.array([top_k], np.int64))
    sizes: Shape = ["N", top_k]
    outputs = [("scores", sizes, np.float32), ("classes", sizes, np.int64)]
    best, classes = builder.nodes("TopK", [scores, count], "top", outputs, axis=1)
    if labels:
        names = builder.constant("class_names", np.array(list(labels), object))
        classes = builder.node("Gather", [names, classes], "class_of", sizes, dtype=object, axis=0)
    builder.output(classes, "labels")
    builder.output(best, "scores")
