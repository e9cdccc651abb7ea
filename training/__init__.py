"""Training: binary networks with the latent-weight branch. Names are loaded on first use, so torch is too.

(`pipeline` reads :class:`.settings.Settings` for its ``[train]`` section and must start without importing torch.)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ..export.readers import register_reader

if TYPE_CHECKING:
    from .data import Dataset, load
    from .handover.conversion import binarize
    from .handover.fold import fold
    from .handover.reader import register_emitter
    from .layers import BinaryConv2d, BinaryLinear, RPReLU, RSign
    from .models import build_model
    from .settings import Settings
    from .trainer import TrainResult, load_network, train

__all__ = [
    "BinaryConv2d",
    "BinaryLinear",
    "Dataset",
    "RPReLU",
    "RSign",
    "Settings",
    "TrainResult",
    "binarize",
    "build_model",
    "fold",
    "load",
    "load_network",
    "register_emitter",
    "train",
]

_HOMES = {
    "BinaryConv2d": "layers",
    "BinaryLinear": "layers",
    "Dataset": "data",
    "RPReLU": "layers",
    "RSign": "layers",
    "Settings": "settings",
    "TrainResult": "trainer",
    "binarize": "handover.conversion",
    "build_model": "models",
    "fold": "handover.fold",
    "load": "data",
    "load_network": "trainer",
    "register_emitter": "handover.reader",
    "train": "trainer",
}

# Whoever has one of our layers has imported this package: from then on `export_onnx` takes torch modules.
register_reader("torch.nn.modules.module.Module", f"{__name__}.handover.reader:read_module")


def __getattr__(name: str) -> Any:
    """Import the defining module of a public name on first use (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__
