"""The runtime wing: load a packed model, run it with popcount kernels, check it against the oracle."""

from .check import check
from .errors import (
    CheckFailed,
    ConfigError,
    DataError,
    InputError,
    LatentbitError,
    MissingExtraError,
    ModelError,
    RunDirError,
    StorageError,
    UnsupportedError,
)
from .session import InferenceSession

__all__ = [
    "CheckFailed",
    "ConfigError",
    "DataError",
    "InferenceSession",
    "InputError",
    "LatentbitError",
    "MissingExtraError",
    "ModelError",
    "RunDirError",
    "StorageError",
    "UnsupportedError",
    "check",
]
