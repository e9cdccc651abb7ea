"""Training: binary networks with the latent-weight branch. Names are loaded on first use, so torch is too.

(`pipeline` reads :class:`.settings.Settings` for its ``[train]`` section and must start without importing torch.)
"""

from typing import TYPE_CHECKING

from ..runtime.lazy import lazy

if TYPE_CHECKING:
    from .data.catalogue import load
    from .data.dataset import Dataset, make_dataset
    from .handover.pixels import Pixels
    from .handover.proving.prove import Proof, prove
    from .latent.objectives import Objective, build_objective
    from .layers.binary import BinaryConv2d, BinaryLinear, RPReLU, RSign, set_progress
    from .layers.stages import bake, set_bits, set_real_weights
    from .layers.weight_only import BinaryWeightConv2d, BinaryWeightLinear
    from .layers.weights import choose_weights
    from .loop.loading import load_network
    from .loop.trainer import Progress, TrainResult, train
    from .models.binarize import binarize
    from .models.catalogue import build_model
    from .settings import Settings

__all__ = [
    "BinaryConv2d",
    "BinaryLinear",
    "BinaryWeightConv2d",
    "BinaryWeightLinear",
    "Dataset",
    "Objective",
    "Pixels",
    "Progress",
    "Proof",
    "RPReLU",
    "RSign",
    "Settings",
    "TrainResult",
    "bake",
    "binarize",
    "build_model",
    "build_objective",
    "choose_weights",
    "load",
    "load_network",
    "make_dataset",
    "prove",
    "set_bits",
    "set_progress",
    "set_real_weights",
    "train",
]

# Each public name and the module that defines it; torch is loaded with the first of them.
__getattr__, __dir__ = lazy(
    __name__,
    {
        "BinaryConv2d": "layers.binary",
        "BinaryLinear": "layers.binary",
        "BinaryWeightConv2d": "layers.weight_only",
        "BinaryWeightLinear": "layers.weight_only",
        "Dataset": "data.dataset",
        "Objective": "latent.objectives",
        "Pixels": "handover.pixels",
        "Progress": "loop.trainer",
        "Proof": "handover.proving.prove",
        "RPReLU": "layers.binary",
        "RSign": "layers.binary",
        "Settings": "settings",
        "TrainResult": "loop.trainer",
        "bake": "layers.stages",
        "binarize": "models.binarize",
        "build_model": "models.catalogue",
        "build_objective": "latent.objectives",
        "choose_weights": "layers.weights",
        "load": "data.catalogue",
        "load_network": "loop.loading",
        "make_dataset": "data.dataset",
        "prove": "handover.proving.prove",
        "set_progress": "layers.binary",
        "set_bits": "layers.stages",
        "set_real_weights": "layers.stages",
        "train": "loop.trainer",
    },
)
