"""From a program as torch exported it to the model that is deployed: every pass, in order."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from ... import __version__
from ...runtime.bits import DOMAIN, OPSET_VERSION
from ..classes import rank_classes
from ..importing.packing import pack_layers
from ..importing.rewriting import Rewriting
from ..opset import ONNX_OPSET
from .naming import name_all
from .norms import fold_norms
from .pixels import take_pixels
from .sizes import fill_sizes, name_sizes
from .storage import store_as_int8
from .tidying import compute_constants, refuse_chance, settle_forms

__all__ = ["OPSET", "Program", "finish"]

OPSET = ONNX_OPSET
"""The opset that a program is to be exported in."""

_IR_VERSION = 8
"""The oldest file format that has model-local functions: every runtime since onnxruntime 1.11 reads it."""


@dataclass(frozen=True)
class Program:
    """What torch exported, unoptimised: the graph, the network's name, its modules without modules, its ends' names."""

    model: ir.Model
    name: str
    leaves: Collection[str]
    inputs: Sequence[str]
    outputs: Sequence[str]


def finish(
    program: Program,
    *,
    pixels: tuple[Any, Any, float] | None = None,
    exact_stem: bool = False,
    int8_weights: bool = False,
    top_k: int = 0,
    labels: Sequence[str] | None = None,
) -> ir.Model:
    """Return the deployed model of a program, which is used up.

    The options are those of :func:`latentbit.export.export_onnx`. Raises UnsupportedError for a network that draws
    random numbers, a batch norm that diverged, and an option that this network cannot use; ConfigError for ``top_k``
    and ``labels`` that do not fit it.
    """
    model = program.model
    refuse_chance(model)
    name_sizes(model)
    compute_constants(model)
    settle_forms(model)
    fill_sizes(model)
    pack_layers(model, weight_only=False)
    fold_norms(model)
    if pixels is not None:
        take_pixels(model, pixels, exact_stem)
    if int8_weights:
        store_as_int8(model)
    RemoveUnusedNodesPass()(model)
    name_all(model, program.name, program.leaves, program.inputs, program.outputs)
    rank_classes(model, top_k, labels)
    Rewriting(model).finish()
    return _described(model, program.name)


def _described(model: ir.Model, name: str) -> ir.Model:
    graph = model.graph
    graph.name, graph.doc_string = name, ""
    graph.metadata_props.clear()
    used = {node.domain for node in graph.all_nodes()}
    others = {domain: version for domain, version in graph.opset_imports.items() if domain in used}
    graph.opset_imports.clear()
    graph.opset_imports.update({**others, "": ONNX_OPSET, DOMAIN: OPSET_VERSION})
    model.ir_version = _IR_VERSION
    model.producer_name, model.producer_version = "latentbit", __version__
    model.domain, model.model_version, model.doc_string = "ai.latentbit.models", 1, ""
    model.metadata_props.clear()
    return model
