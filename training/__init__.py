"""Training: binary networks with the latent-weight branch. Names are loaded on first use, so torch is too.

(`pipeline` reads :class:`.settings.Settings` for its ``[train]`` section and must start without importing torch.)
"""

from typing import TYPE_CHECKING

from ..runtime.lazy import lazy

if TYPE_CHECKING:
    from .data.catalogue import load
    from .data.dataset import Dataset
    from .handover.fold import fold
    from .handover.reader import register_emitter
    from .layers.binary import BinaryConv2d, BinaryLinear, RPReLU, RSign
    from .loop.loading import load_network
    from .loop.trainer import TrainResult, train
    from .models.binarize import binarize
    from .models.catalogue import build_model
    from .settings import Settings

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

# Each public name and the module that defines it; torch is loaded with the first of them.
__getattr__, __dir__ = lazy(
    __name__,
    {
        "BinaryConv2d": "layers.binary",
        "BinaryLinear": "layers.binary",
        "Dataset": "data.dataset",
        "RPReLU": "layers.binary",
        "RSign": "layers.binary",
        "Settings": "settings",
        "TrainResult": "loop.trainer",
        "binarize": "models.binarize",
        "build_model": "models.catalogue",
        "fold": "handover.fold",
        "load": "data.catalogue",
        "load_network": "loop.loading",
        "register_emitter": "handover.reader",
        "train": "loop.trainer",
    },
)
