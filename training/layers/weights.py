"""The latent weight W of a binary layer: how it is regularised and binarised."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from .estimators import STATIC_ESTIMATORS, find_estimator
from .levels import to_levels
from .products import Geometry, binary_product
from .regularisers import find_regulariser, none, recu
from .signs import weight_scale

__all__ = ["LatentWeightLayer", "choose_weights"]


class LatentWeightLayer(nn.Module):
    """Base of the binary layers: a real-valued weight ``[O, …]`` that acts as α·sign(W).

    ``regulariser`` changes W first (:mod:`.regularisers`). ``bits`` is 1 for signs, 0 for W itself and otherwise the
    width in bits of what the layer multiplies with, in stages of training or in a schedule of one's own that makes
    layers binary one after the other (:mod:`.stages`).
    """

    weight: nn.Parameter
    reads_signs: ClassVar[bool] = True
    """Whether the layer's input is ±1, so that its sums are integers."""

    def __init__(self, shape: tuple[int, ...], estimator: str) -> None:
        super().__init__()
        self.progress, self.bits = 0.0, 1
        self.choose(estimator, "none")
        self.weight = nn.Parameter(torch.empty(shape))
        self.reset_parameters()

    def choose(self, estimator: str, regulariser: str) -> None:
        """Choose how gradients reach W, and what W becomes before it is binarised."""
        self.estimator, self.estimate = estimator, find_estimator(estimator)
        self.regulariser, self.regularise = regulariser, find_regulariser(regulariser)

    def reset_parameters(self) -> None:
        """Draw W from a zero-mean normal with half the deviation of He's initialisation."""
        nn.init.kaiming_normal_(self.weight)
        with torch.no_grad():
            self.weight.mul_(0.5)

    def latent_weight(self) -> Tensor:
        """Return W as it is binarised: regularised, real-valued, float32."""
        return self.weight if self.regularise is none else self.regularise(self.weight, self.progress)

    def finer_weight(self) -> Tensor:
        """Return what the layer multiplies with where ``bits`` is not 1: W, or 2m·q(W/2m), m = mean|W| per channel.

        q rounds to ``bits`` (:func:`.levels.to_levels`). Of the four levels ±m·2/3 and ±2m of two bits the mean squared
        error is 3% above the least of any four (normal W). The gradient reaches W where it lies within ±2m.
        """
        weight = self.latent_weight()
        if self.bits == 0:
            return weight
        scale = 2 * weight_scale(weight)
        return scale * to_levels(weight / scale.clamp(min=1e-12), self.bits)

    def rounds(self) -> bool:
        """Tell whether sums are rounded to integers: in eval mode, where a file or a fold is compared with the layer.

        In training it would cost a pass over every output, and dropout may have scaled the signs.
        """
        return self.reads_signs and not self.training

    def product(self, x: Tensor, weight: Tensor, geometry: Geometry | None) -> Tensor:
        """Return α·(x ⊛ sign(weight)), a dense product where ``geometry`` is None (:mod:`.products`)."""
        return binary_product(x, weight, geometry, self.estimate, self.progress, integers=self.rounds())

    def set_progress(self, progress: float) -> None:
        """Store the share of the schedule that has passed.

        Skipped where it is ignored: ``torch.compile`` would compile the step again for every new value.
        """
        if self.estimate not in STATIC_ESTIMATORS or self.regularise is recu:
            self.progress = progress


def choose_weights(network: nn.Module, *, estimator: str, regulariser: str) -> None:
    """Choose estimator and regulariser of the weights of every binary layer in ``network``."""
    for layer in network.modules():
        if isinstance(layer, LatentWeightLayer):
            layer.choose(estimator, regulariser)
