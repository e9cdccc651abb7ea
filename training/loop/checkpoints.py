"""Files of a training run, written whole or not at all, and read without executing anything."""

import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from ...runtime.errors import DataError, first_line
from ...runtime.files import parse_json, write_bytes

__all__ = ["load_tensors", "read_json", "save_tensors", "write_lines"]


def save_tensors(path: Path, values: dict[str, Any]) -> None:
    """Save a dictionary of tensors and plain values with ``torch.save``, whole or not at all."""
    buffer = io.BytesIO()  # given a file, torch reports a full disk as a RuntimeError
    torch.save(values, buffer)
    write_bytes(path, buffer.getvalue())


def load_tensors(path: Path) -> dict[str, Any]:
    """Load what :func:`save_tensors` wrote onto the CPU with ``weights_only``; DataError if missing or corrupt."""
    try:
        values = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise DataError(f"{path} is missing: run the train stage first") from None
    except Exception as error:  # a damaged file makes torch's reader raise many kinds
        raise DataError(f"{path} cannot be read ({first_line(error)}): delete it and train again") from error
    if not isinstance(values, dict):
        raise DataError(f"{path} holds no dictionary: delete it and train again")
    return values


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; DataError if it is missing or corrupt."""
    try:
        value = parse_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path} is missing: run the train stage first") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}): delete it and train again") from error
    if not isinstance(value, dict):
        raise DataError(f"{path} holds no JSON object: delete it and train again")
    return value


def write_lines(path: Path, records: Iterable[dict[str, Any]]) -> None:
    """Write one JSON object a line, whole or not at all."""
    write_bytes(path, "".join(json.dumps(record, sort_keys=True) + "\n" for record in records).encode())
