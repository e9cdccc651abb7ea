"""``export_onnx``: a network becomes one checked ``.onnx`` file."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir

from ..runtime.files import write_bytes
from .readers import find_reader

__all__ = ["FORMAT_VERSION", "export_onnx", "write_model"]

FORMAT_VERSION = 1
"""Version of what we write into a file's metadata; raised when a reader of the older form would be misled."""


def export_onnx(
    network: Any,
    example_input: Any,
    path: str | os.PathLike[str],
    *,
    metadata: Mapping[str, Any] | None = None,
    **options: Any,
) -> Path:
    """Write ``network`` to ``path`` as ONNX with packed binary layers, and return the path.

    network: a ``torch.nn.Module`` (trained, or already folded) or an ``onnx_ir.Model``.
    example_input: a tensor or array of the shape the network takes, ``[N, C, H, W]``; its values do not matter.
    metadata: JSON-able values, written as the file's properties under ``latentbit.<key>``.
    options: for the reader of this kind of network, see :func:`latentbit.training.handover.reader.read_module`.

    The file passes ``onnx.checker.check_model(full_check=True)`` before it is put in place under its final name.
    Raises UnsupportedError naming every layer that has no emitter, StorageError where the file cannot be written.
    """
    model = network if isinstance(network, ir.Model) else find_reader(network)(network, example_input, **options)
    model.metadata_props["latentbit.format_version"] = json.dumps(FORMAT_VERSION)
    for key, value in (metadata or {}).items():
        model.metadata_props[f"latentbit.{key}"] = json.dumps(value)
    return write_model(ir.serde.serialize_model(model), path)


def write_model(proto: onnx.ModelProto, path: str | os.PathLike[str]) -> Path:
    """Check the model in full and write it, whole or not at all."""
    onnx.checker.check_model(proto, full_check=True)
    target = Path(path)
    write_bytes(target, proto.SerializeToString(deterministic=True))
    return target
