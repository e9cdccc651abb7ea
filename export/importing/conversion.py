"""``convert``: an ONNX file that others wrote becomes one with packed binary layers, and a report of every layer.

::

    file ─► standard operators, opset >= 18 ─► packed layers ─► checked file
            (plain)                            (packing)
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from ... import __version__
from ...runtime.errors import ConfigError
from ..classes import rank_classes
from ..graph.reading import to_proto
from ..inline import inline as inline_functions
from ..opset import ONNX_OPSET
from ..storing import note_metadata, write_model
from .packing import Outcome, pack_layers
from .plain import read_file, read_plain
from .restoring import restore
from .signs import UNDECIDED

__all__ = ["ConversionReport", "convert"]


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

    @property
    def undecided(self) -> int:
        """How many layers would be binary if ``sign_zero`` said which sign a 0 has."""
        return sum(layer.reason.endswith(UNDECIDED) for layer in self.layers)

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
    file = read_file(source)
    model = read_plain(file)
    restore(model)
    layers = pack_layers(model, weight_only=weight_only, sign_zero=sign_zero, straight_through=straight_through)
    model.producer_name, model.producer_version = "latentbit", __version__
    rank_classes(model, top_k, labels)
    note_metadata(model, metadata or {})
    proto = to_proto(model)
    written = write_model(inline_functions(proto, opset=opset, weights=weights) if inline else proto, target)
    return ConversionReport(str(file.path), str(written), tuple(layers), file.size, written.stat().st_size)
