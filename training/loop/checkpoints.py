"""Files of a training run, written whole or not at all, and read without executing anything."""

import json
import os
import pickle
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, Any

import torch

from ...runtime.errors import DataError, StorageError

__all__ = ["load_tensors", "read_json", "save_tensors", "write_atomically", "write_json", "write_lines"]


def write_atomically(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Let ``write`` fill a temporary file beside ``path``, flush it to disk and rename it; StorageError if it fails."""
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            temporary = file.name
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except (OSError, RuntimeError) as error:
        # torch reports a failing stream as RuntimeError.
        raise StorageError(f"cannot write {path}: {error}; free space or choose another folder") from error
    finally:
        if temporary is not None and os.path.exists(temporary):
            os.unlink(temporary)


def save_tensors(path: Path, values: dict[str, Any]) -> None:
    """Save a dictionary of tensors and plain values with ``torch.save``, atomically."""
    write_atomically(path, lambda file: torch.save(values, file))


def load_tensors(path: Path) -> dict[str, Any]:
    """Load what :func:`save_tensors` wrote onto the CPU with ``weights_only``; DataError if missing or corrupt."""
    try:
        values = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise DataError(f"{path} is missing: run the train stage first") from None
    except (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError, KeyError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{path} cannot be read ({reason}): delete it and train again") from error
    if not isinstance(values, dict):
        raise DataError(f"{path} holds no dictionary: delete it and train again")
    return values


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; DataError if it is missing or corrupt."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path} is missing: run the train stage first") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}): delete it and train again") from error
    if not isinstance(value, dict):
        raise DataError(f"{path} holds no JSON object: delete it and train again")
    return value


def write_json(path: Path, value: object) -> None:
    """Write JSON with sorted keys, atomically."""
    text = json.dumps(value, indent=2, sort_keys=True) + "\n"
    write_atomically(path, lambda file: file.write(text.encode()))


def write_lines(path: Path, records: Iterable[dict[str, Any]]) -> None:
    """Write one JSON object a line, atomically."""
    text = "".join(json.dumps(record, sort_keys=True) + "\n" for record in records)
    write_atomically(path, lambda file: file.write(text.encode()))
