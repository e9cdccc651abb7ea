"""The runtime wing: load a packed model, run it with popcount kernels, check it against the oracle."""

from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    from .accuracy import check
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


def __getattr__(name: str) -> Any:
    # onnxruntime and the kernels take a second to import: only when used, so that the errors stay light.
    if name == "InferenceSession":
        from .session import InferenceSession

        return InferenceSession
    if name == "check":
        from .accuracy import check

        return check
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
