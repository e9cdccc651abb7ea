"""Writing a model: what it says of itself, ONNX's own check in full, and a file that is there whole or not at all."""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir

from ..runtime.errors import CheckFailed, ConfigError, ModelError, first_line
from ..runtime.files import write_bytes

__all__ = ["note_metadata", "write_model"]

_FORMAT_VERSION = 1
"""Version of what we write into a file's metadata; raised when a reader of the older form would be misled."""


def note_metadata(model: ir.Model, metadata: Mapping[str, Any]) -> None:
    """Write values as JSON into a model's properties, ``latentbit.<key>``; ConfigError for what is no JSON."""
    model.metadata_props["latentbit.format_version"] = json.dumps(_FORMAT_VERSION)
    for key, value in metadata.items():
        try:
            model.metadata_props[f"latentbit.{key}"] = json.dumps(value)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"metadata {key!r} cannot be written as JSON: {first_line(error)}") from None


def write_model(
    proto: onnx.ModelProto, path: str | os.PathLike[str], failure: Callable[[], str | None] | None = None
) -> Path:
    """Check the model in full and write it, whole or not at all. Raises ModelError where ONNX's check refuses it.

    ``failure`` says what else is wrong; where it says something, CheckFailed is raised.
    """
    target = Path(path)
    try:
        onnx.checker.check_model(proto, full_check=True)
    except Exception as error:
        raise ModelError(f"{target} would be no valid ONNX file and is not written: {first_line(error)}") from error
    wrong = None if failure is None else failure()
    if wrong is not None:
        raise CheckFailed(
            f"{target} is not written, for it would not answer as the network does: {wrong}"
            " (prove=False writes it all the same)"
        )
    write_bytes(target, proto.SerializeToString(deterministic=True))
    return target
