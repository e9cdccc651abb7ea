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
    from .proof.packing import make_bundle
    from .proof.reference import Reference
    from .proof.report import CheckReport
    from .proof.tolerances import Tolerances
    from .session.session import InferenceSession
    from .session.tiled import run_tiled

__all__ = [
    "CheckFailed",
    "CheckReport",
    "ConfigError",
    "DataError",
    "InferenceSession",
    "InputError",
    "LatentbitError",
    "MissingExtraError",
    "ModelError",
    "Reference",
    "RunDirError",
    "StorageError",
    "Tolerances",
    "UnsupportedError",
    "check",
    "make_bundle",
    "run_tiled",
]


# onnxruntime and the kernels take a second to import: only when used, so that the errors stay light.
__getattr__, __dir__ = lazy(
    __name__,
    {
        "CheckReport": "proof.report",
        "InferenceSession": "session",
        "Reference": "proof.reference",
        "Tolerances": "proof.tolerances",
        "check": "proof.accuracy",
        "make_bundle": "proof.packing",
        "run_tiled": "session.tiled",
    },
)
