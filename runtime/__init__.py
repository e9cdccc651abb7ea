"""The runtime wing: load a packed model, run it with popcount kernels, check it against the oracle."""

from typing import TYPE_CHECKING

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
from .lazy import lazy

if TYPE_CHECKING:
    from .proof.accuracy import check
    from .session.session import InferenceSession

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


# onnxruntime and the kernels take a second to import: only when used, so that the errors stay light.
__getattr__, __dir__ = lazy(__name__, {"InferenceSession": "session", "check": "proof.accuracy"})
