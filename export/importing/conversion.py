"""``convert``: an ONNX file that others wrote becomes one with packed binary layers, and a report of every layer.

::

    file ─► dialects to standard ONNX ─► opset >= 18, shapes ─► packed layers ─► checked file
            (DIALECTS, one list)                                (packing)

A new dialect is a function that rewrites its operators in place, and one line in :data:`DIALECTS`.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import onnx.shape_inference
import onnx.version_converter
import onnx_ir as ir
from onnx_ir.passes.common import RemoveInitializersFromInputsPass

from ... import __version__
from ...runtime.bits import DOMAIN, OPSET_VERSION
from ...runtime.errors import ConfigError, ModelError, first_line
from ...runtime.operators import STANDARD_DOMAINS
from ..classes import rank_classes
from ..graph.constants import fold_constants
from ..graph.reading import OnnxFile, inlined, load_onnx, standard_opset, to_graph, to_proto
from ..inline import inline as inline_functions
from ..opset import ONNX_OPSET, functions
from ..storing import note_metadata, write_model
from .layers import label
from .packing import Outcome, pack_layers
from .qonnx import lower_qonnx
from .restoring import restore

__all__ = ["DIALECTS", "ConversionReport", "convert", "read_plain"]

DIALECTS: tuple[Callable[[ir.Model], None], ...] = (lower_qonnx,)
"""Each rewrites the operators of one source form as standard ONNX, in place, and leaves every other operator alone."""

STANDARD = frozenset({*STANDARD_DOMAINS, "ai.onnx.ml", "ai.onnx.preview.training", "com.microsoft", DOMAIN})
"""Domains that stock onnxruntime executes, and ours."""


@dataclass(frozen=True)
class ConversionReport:
    """What ``convert`` did: one :class:`Outcome` a layer, and the sizes of both files in bytes."""

    source: str
    target: str
    layers: tuple[Outcome, ...]
    bytes_before: int
    bytes_after: int

    def count(self, form: Literal["binary", "weight-only", "float"]) -> int:
        """Return how many layers have this form."""
        return sum(layer.form == form for layer in self.layers)

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON-able values."""
        return asdict(self)


def convert(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    weight_only: bool = True,
    sign_zero: Literal["keep", "plus", "minus"] = "keep",
    straight_through: bool = False,
    inline: bool = False,
    opset: int = ONNX_OPSET,
    weights: Literal["float", "int8", "packed"] = "float",
    metadata: Mapping[str, Any] | None = None,
    top_k: int = 0,
    labels: Sequence[str] | None = None,
) -> ConversionReport:
    """Pack the binary layers of the ONNX file ``source``, write ``target``, and report what became of every layer.

    source: a QONNX file (Brevitas) or a plain ONNX file whose layers have ±scale weights and sign-like activations.
    weight_only: also pack layers with ±scale weights and a real input (one bit a weight, arithmetic in float).
    sign_zero: what ONNX ``Sign`` gives for 0 in a packed layer: "keep" its 0 (a layer that can meet it is not binary),
    or take it as "plus" or "minus" one, which is noted in the report.
    straight_through: take ``hard − soft + soft``, as training programs write a sign, as ``hard``. Float32 rounds it to
    something else in the last bits; the report notes each place and by how much.
    A plain file of ours becomes again what it was, bit for bit (:mod:`.restoring`); the options are for other layers.
    inline, opset, weights: write plain ONNX without functions, see :func:`latentbit.export.inline.inline`.
    metadata, top_k, labels: as :func:`latentbit.export.export_onnx` takes them; they are added to what the file has.

    Raises ModelError where the source is missing, no valid model, or holds operators that stock onnxruntime does not
    know once the dialects are read; ConfigError for a word that is none of those listed or an option that does not fit,
    UnsupportedError for ``top_k`` of no class scores, StorageError where the target cannot be written.
    """
    if sign_zero not in ("keep", "plus", "minus"):
        raise ConfigError(f"sign_zero is 'keep', 'plus' or 'minus', not {sign_zero!r}")
    file = load_onnx(source)
    model = read_plain(file)
    restore(model)
    layers = pack_layers(model, weight_only=weight_only, sign_zero=sign_zero, straight_through=straight_through)
    model.producer_name, model.producer_version = "latentbit", __version__
    rank_classes(model, top_k, labels)
    note_metadata(model, metadata or {})
    proto = to_proto(model)
    written = write_model(inline_functions(proto, opset=opset, weights=weights) if inline else proto, target)
    return ConversionReport(str(file.path), str(written), tuple(layers), file.size, written.stat().st_size)


def read_plain(file: OnnxFile) -> ir.Model:
    """Return a file as a model of standard operators and ours, opset 18 or later, with all shapes that can be inferred.

    Weights that are inputs of the graph as well become constants; what exporters noted at single nodes is dropped.
    Raises ModelError as :func:`convert` does; the file itself is left as it is.
    """
    path = file.path
    model = to_graph(inlined(file.model, keep_domain=DOMAIN))
    _check_ours(model, path)
    RemoveInitializersFromInputsPass()(model)  # Brevitas, and files of before 2019, list every weight as an input too
    for lower in DIALECTS:
        lower(model)
    foreign = [node for node in model.graph.all_nodes() if node.domain not in STANDARD]
    if foreign:
        names = ", ".join(f"{node.domain}.{node.op_type} ({label(node)})" for node in foreign[:3])
        more = f" and {len(foreign) - 3} more" if len(foreign) > 3 else ""
        raise ModelError(f"{path} holds operators that no importer knows: {names}{more}; export the model without them")
    for domain in [name for name in model.graph.opset_imports if name not in STANDARD]:
        del model.graph.opset_imports[domain]
    metadata = dict(model.metadata_props)
    model = to_graph(_upgraded(to_proto(model), path))
    # computed pads and shapes, which shape inference does not follow; weights stay as the file has them
    fold_constants(model, lambda _, array: array.dtype == np.int64)
    model = to_graph(_inferred(to_proto(model), path))
    model.metadata_props.update(metadata)  # the version converter loses them
    for node in model.graph.all_nodes():  # stack traces of the exporting program, longer than the network
        node.metadata_props.clear()
        node.doc_string = None
    return model


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


def _upgraded(proto: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    """Bring the standard opset to the oldest one in which our operators can be written."""
    version = standard_opset(proto)
    if version >= ONNX_OPSET:
        return proto
    if proto.functions:  # onnx.version_converter drops functions without a word
        raise ModelError(
            f"{path} holds operators of {DOMAIN} at opset {version}; they need {ONNX_OPSET}: export it again"
        )
    try:
        upgraded = onnx.version_converter.convert_version(proto, ONNX_OPSET)
    except Exception as error:
        raise ModelError(
            f"{path} cannot be brought from opset {version} to {ONNX_OPSET} ({first_line(error)}); "
            f"export it at opset {ONNX_OPSET} or later"
        ) from None
    upgraded.producer_name, upgraded.producer_version = proto.producer_name, proto.producer_version
    upgraded.doc_string, upgraded.domain, upgraded.model_version = proto.doc_string, proto.domain, proto.model_version
    return upgraded


def _inferred(proto: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    try:
        return onnx.shape_inference.infer_shapes(proto, check_type=True, strict_mode=True, data_prop=True)
    except Exception as error:
        raise ModelError(f"{path}: its shapes contradict each other: {first_line(error)}; export it again") from None
