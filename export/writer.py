"""``export_onnx``: a network becomes one checked ``.onnx`` file."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx_ir as ir

from ..runtime.errors import UnsupportedError
from .graph.reading import to_proto
from .inline import inline
from .readers import find_prover, find_reader
from .storing import note_metadata, write_model

__all__ = ["export_onnx"]


def export_onnx(
    network: Any,
    example_input: Any,
    path: str | os.PathLike[str],
    *,
    metadata: Mapping[str, Any] | None = None,
    pixels: tuple[tuple[float, ...], tuple[float, ...], float] | None = None,
    exact_stem: bool = False,
    int8_weights: bool = False,
    dynamic_spatial: bool = False,
    output_name: str | None = None,
    top_k: int = 0,
    labels: Sequence[str] | None = None,
    plain: bool = False,
    prove: bool = True,
) -> Path:
    """Write ``network`` to ``path`` as ONNX with packed binary layers, and return the path.

    network: a ``torch.nn.Module`` or an ``onnx_ir.Model``.
    example_input: a tensor or array of the shape the network takes, ``[N, C, H, W]``, or a sequence of them, one an
    argument of ``forward``; the proof draws its inputs from their range. Not looked at for an ``onnx_ir.Model``.
    metadata: JSON-able values, written as the file's properties under ``latentbit.<key>``.
    pixels: a :class:`latentbit.training.Pixels`; the file then takes uint8 images ``[N, H, W, C]``.
    exact_stem: with ``pixels``, round the first convolution to int8 weights and exact integer sums.
    int8_weights: store the float layers that remain as int8, one scale an output channel.
    dynamic_spatial: let the image size be symbolic (``"H"``, ``"W"``) too; the batch always is (``"N"``).
    output_name: name of the output, ``"logits"`` unless given.
    top_k: add the outputs ``labels`` and ``scores``, ``[N, top_k]``: the most probable classes and their softmax.
    labels: with ``top_k``, names of the classes; without them the output ``labels`` holds class numbers (int64).
    plain: write standard operators alone, the signs as float32 ±1: the folded network as any tool reads it.
    :func:`latentbit.export.convert` packs such a file, and the packed one is the same bit for bit.
    prove: run the file here and in onnxruntime, on the example and others, and compare it with the network
    (docs/export.md says how; an ``onnx_ir.Model`` has nothing to be compared with). False writes it unproven.

    The file passes ``onnx.checker.check_model(full_check=True)`` before it is put in place under its final name.
    Raises UnsupportedError where torch cannot export the network or the file would answer otherwise, and for an option
    that this network cannot use: an ``onnx_ir.Model`` takes none but ``plain``. ConfigError for an option with a value
    that makes no sense, InputError for an example that is none, ModelError where the result is no valid ONNX,
    CheckFailed where it does not answer as the network does (nothing is written then), StorageError where the file
    cannot be written.
    """
    options = {
        "pixels": pixels,
        "exact_stem": exact_stem,
        "int8_weights": int8_weights,
        "dynamic_spatial": dynamic_spatial,
        "output_name": output_name,
        "top_k": top_k,
        "labels": labels,
    }
    given = {name: value for name, value in options.items() if value is not None and value is not False}
    if not top_k:
        given.pop("top_k", None)
    if not isinstance(network, ir.Model):
        model = find_reader(network)(network, example_input, **given)
    elif given:
        raise UnsupportedError(f"an onnx_ir.Model is written as it is: leave out {', '.join(given)}")
    else:
        model = network
    note_metadata(model, metadata or {})
    changing = {name: given[name] for name in ("pixels", "exact_stem", "int8_weights") if name in given}

    packed = to_proto(model)

    def failure() -> str | None:
        data = packed.SerializeToString(deterministic=True)
        found: str | None = find_prover(network)(network, example_input, data, **changing).failure
        return found

    written = inline(packed) if plain else packed
    return write_model(written, path, failure if prove and not isinstance(network, ir.Model) else None)
