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
from ..runtime.proof.self_test import KEY, make_self_test

__all__ = ["note_metadata", "with_self_test", "write_model"]

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
    """Check the model in full, give it a self-test and write it, whole or not at all.

    ``failure`` says what else is wrong; where it says something, CheckFailed is raised. A file that this runtime cannot
    run gets no self-test (:func:`.make_self_test`). Raises ModelError where ONNX's check refuses the model.
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
    write_bytes(target, with_self_test(proto))
    return target


def with_self_test(proto: onnx.ModelProto) -> bytes:
    """Return the bytes of a model with a self-test in its metadata, in the place of one that is there already."""
    kept = [entry for entry in proto.metadata_props if entry.key != KEY]
    del proto.metadata_props[:]
    proto.metadata_props.extend(kept)
    text = make_self_test(proto.SerializeToString(deterministic=True))
    if text is not None:
        proto.metadata_props.add(key=KEY, value=text)
    return bytes(proto.SerializeToString(deterministic=True))
