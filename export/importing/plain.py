"""A file of any dialect and age as one plain model: standard operators and ours, opset 18 or later, shapes inferred.

::

    file ─► what it leaves out ─► opset >= 18 ─► dialects to standard ONNX ─► constants, shapes
            (accepting)                          (DIALECTS, one list)

A new dialect is a function that rewrites its operators in place, and one line in :data:`DIALECTS`.
"""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx.shape_inference
import onnx.version_converter
import onnx_ir as ir
from onnx_ir.passes.common import RemoveInitializersFromInputsPass

from ...runtime.bits import DOMAIN, OPSET_VERSION
from ...runtime.errors import ModelError, first_line
from ...runtime.operators import STANDARD_DOMAINS
from ..graph.constants import fold_constants
from ..graph.reading import OnnxFile, inlined, load_onnx, to_graph, to_proto
from ..opset import ONNX_OPSET, functions
from .accepting import accept
from .layers import label
from .qonnx import lower_qonnx

__all__ = ["DIALECTS", "look", "read_file", "read_plain"]

DIALECTS: tuple[Callable[[ir.Model], None], ...] = (lower_qonnx,)
"""Each rewrites the operators of one source form as standard ONNX, in place, and leaves every other operator alone."""

STANDARD = frozenset({*STANDARD_DOMAINS, "ai.onnx.ml", "ai.onnx.preview.training", "com.microsoft", DOMAIN})
"""Domains that stock onnxruntime executes, and ours."""

_EXPORTERS = ("pkg.torch.", "pkg.onnxscript.")
"""How the notes begin that torch's exporter writes about its own work: signatures and traces, longer than a network."""


def read_file(path: str | os.PathLike[str]) -> OnnxFile:
    """Read and check a file as others write it. Raises ModelError as :func:`latentbit.export.convert` does."""
    return load_onnx(path, accept)


def read_plain(file: OnnxFile) -> ir.Model:
    """Return a file as a model of standard operators and ours, opset 18 or later, with all shapes that can be inferred.

    Weights that are inputs of the graph as well become constants; what exporters noted about their work is dropped.
    Raises ModelError as :func:`latentbit.export.convert` does; the file itself is left as it is.
    """
    model, refusals = look(file)
    if refusals:
        raise refusals[0]
    return model


def look(file: OnnxFile) -> tuple[ir.Model, list[ModelError]]:
    """Return a file as :func:`read_plain` does, as far as it can be read, and what is in the way of converting it.

    Raises ModelError where the graph does not hang together.
    """
    path = file.path
    model = to_graph(inlined(file.model, keep_domain=DOMAIN))
    RemoveInitializersFromInputsPass()(model)  # Brevitas, and files of before 2019, list every weight as an input too
    model.ir_version = max(model.ir_version, 4)  # the first in which a constant need not be an input
    _forget_exporter(model)
    refusals: list[ModelError] = []

    def attempt(step: Callable[[ir.Model, Path], ir.Model | None]) -> None:
        nonlocal model
        try:
            model = step(model, path) or model
        except ModelError as error:
            refusals.append(error)

    attempt(_check_ours)
    attempt(_upgraded)  # first: what a dialect becomes is written in the operators of today
    for lower in DIALECTS:
        attempt(lambda current, _, lower=lower: lower(current))  # type: ignore[misc]
    attempt(_refuse_foreign)
    # computed pads and shapes, which shape inference does not follow; weights stay as the file has them
    fold_constants(model, lambda _, array: array.dtype == np.int64)
    attempt(_inferred)
    attempt(_check_outputs)
    return model, refusals


def _forget_exporter(model: ir.Model) -> None:
    """Drop what an exporter noted about its own work: stack traces, signatures. The file's own metadata stay."""
    for key in [key for key in model.metadata_props if key.startswith(_EXPORTERS)]:
        del model.metadata_props[key]
    values = [*model.graph.inputs, *model.graph.initializers.values()]
    for node in model.graph.all_nodes():
        node.metadata_props.clear()
        node.doc_string = None
        values += node.outputs
    for value in values:
        value.metadata_props.clear()
    model.graph.metadata_props.clear()


def _check_ours(model: ir.Model, path: Path) -> None:
    """Refuse operators of our own domain that this version does not know: their functions would be replaced."""
    version = model.graph.opset_imports.get(DOMAIN, OPSET_VERSION)
    if version != OPSET_VERSION:
        raise ModelError(
            f"{path} uses {DOMAIN} version {version}, this latentbit knows version {OPSET_VERSION}; use a fitting one"
        )
    known = {function.name: set(function.attribute) for function in functions()}
    for node in model.graph.all_nodes():
        if node.domain == DOMAIN and set(node.attributes) != known.get(node.op_type):
            raise ModelError(f"{path}: node {label(node)} is no {DOMAIN}.{node.op_type} of version {OPSET_VERSION}")


def _refuse_foreign(model: ir.Model, path: Path) -> None:
    foreign = [node for node in model.graph.all_nodes() if node.domain not in STANDARD]
    if foreign:
        names = ", ".join(f"{node.domain}.{node.op_type} ({label(node)})" for node in foreign[:3])
        more = f" and {len(foreign) - 3} more" if len(foreign) > 3 else ""
        raise ModelError(f"{path} holds operators that no importer knows: {names}{more}; export the model without them")
    for domain in [name for name in model.graph.opset_imports if name not in STANDARD]:
        del model.graph.opset_imports[domain]


def _upgraded(model: ir.Model, path: Path) -> ir.Model:
    """Bring the standard opset to the oldest one in which our operators can be written."""
    version = model.graph.opset_imports.get("", model.graph.opset_imports.get("ai.onnx", 1))
    if version >= ONNX_OPSET:
        return model
    if model.functions:  # onnx.version_converter drops functions without a word
        raise ModelError(
            f"{path} holds operators of {DOMAIN} at opset {version}; they need {ONNX_OPSET}: export it again"
        )
    proto = to_proto(model)
    try:
        upgraded = onnx.version_converter.convert_version(proto, ONNX_OPSET)
    except Exception as error:
        raise ModelError(
            f"{path} cannot be brought from opset {version} to {ONNX_OPSET} ({first_line(error)}); "
            f"export it at opset {ONNX_OPSET} or later"
        ) from None
    for name in ("producer_name", "producer_version", "doc_string", "domain", "model_version"):
        setattr(upgraded, name, getattr(proto, name))
    upgraded.metadata_props.extend(proto.metadata_props)  # the converter loses all of these
    return to_graph(upgraded)


def _inferred(model: ir.Model, path: Path) -> ir.Model:
    try:
        proto = onnx.shape_inference.infer_shapes(to_proto(model), check_type=True, strict_mode=True, data_prop=True)
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(f"{path}: its shapes contradict each other: {first_line(error)}; export it again") from None
    return to_graph(proto)


def _check_outputs(model: ir.Model, path: Path) -> None:
    for output in model.graph.outputs:
        if output.shape is None:
            raise ModelError(f"{path}: the shape of output {output.name} is not known; export the model with it")
