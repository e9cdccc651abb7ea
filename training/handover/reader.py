"""The hand-over to export: a torch network becomes an onnx-ir model.

``export_onnx`` of :mod:`latentbit.export` calls :func:`read_module` for any ``torch.nn.Module``.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from numpy.typing import NDArray
from torch import Tensor, fx, nn

from ...export.builder import GraphBuilder, Shape
from ...runtime.errors import ConfigError, InputError, UnsupportedError
from .emission import Emitter, annotate_shapes, emit_graph
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
    labels: Sequence[str] | None = None,
) -> ir.Model:
    """Turn a torch network into an onnx-ir model: fold (if it is not folded yet), find the shapes, emit.

    The options are those of :func:`latentbit.export.export_onnx`, which hands them on; with ``pixels`` the example is a
    uint8 image ``[N, H, W, C]``. Names in the model are module paths.
    """
    if labels is not None and not top_k:
        raise ConfigError("labels are the names of the classes that top_k adds: give top_k too, or leave labels out")
    folded = fold(network, pixels=pixels, exact_stem=exact_stem, int8_weights=int8_weights)
    examples = _examples(folded, example_input)
    annotate_shapes(folded, examples, dynamic_spatial)
    builder = GraphBuilder(type(network).__name__)
    outputs = emit_graph(folded, builder, {**MODULES, **FUNCTIONS, **METHODS}, examples, output_name)
    if top_k:
        _rank_classes(builder, outputs[0], top_k, labels)
    return builder.model({})


def _examples(folded: fx.GraphModule, example_input: Any) -> list[Tensor]:
    """Return one tensor with a batch axis for each input of the network; InputError for anything else."""
    single = isinstance(example_input, Tensor | np.ndarray)
    given = [example_input] if single else example_input
    names = [str(node.target) for node in folded.graph.nodes if node.op == "placeholder"]
    if not isinstance(given, Sequence) or not all(isinstance(entry, Tensor | np.ndarray) for entry in given):
        raise InputError(f"example_input is a {type(given).__name__}; give a tensor or array for {', '.join(names)}")
    if len(given) != len(names):
        raise InputError(f"example_input holds {len(given)} arrays, the network takes {len(names)}: {', '.join(names)}")
    for name, entry in zip(names, given, strict=True):
        if not entry.ndim or not all(entry.shape):
            raise InputError(f"example_input for {name} has shape {list(entry.shape)}; give at least one sample")
    try:
        return [torch.as_tensor(entry) for entry in given]
    except TypeError as error:
        raise InputError(f"example_input holds what torch cannot: {error}") from None


def _rank_classes(builder: GraphBuilder, logits: ir.Value, top_k: int, labels: Sequence[str] | None) -> None:
    """Write softmax, top-k and the lookup of the labels behind the logits."""
    classes_of = None if logits.shape is None or len(logits.shape) != 2 else logits.shape[1]
    if not isinstance(classes_of, int):
        raise UnsupportedError("top_k needs an output [N, classes]; leave it out for this network")
    if not 0 < top_k <= classes_of:
        raise ConfigError(f"top_k is {top_k}, the network has {classes_of} classes")
    if labels is not None and len(labels) != classes_of:
        raise ConfigError(f"labels names {len(labels)} classes, the network has {classes_of}")
    scores = builder.node("Softmax", [logits], "softmax", ["N", None], axis=1)
    count = builder.constant("top_k", np.array([top_k], np.int64))
    sizes: Shape = ["N", top_k]
    outputs = [("scores", sizes, np.float32), ("classes", sizes, np.int64)]
    best, classes = builder.nodes("TopK", [scores, count], "top", outputs, axis=1)
    if labels is not None:
        names = builder.constant("class_names", np.array(list(labels), object))
        classes = builder.node("Gather", [names, classes], "class_of", sizes, dtype=object, axis=0)
    builder.output(classes, "labels")
    builder.output(best, "scores")
