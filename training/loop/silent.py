"""Against silent weights, whose sign never flips (OvSW, arXiv 2407.05257): gradients changed before each step.

* **Adaptive gradient scaling**: in each output channel the gradient is lengthened to ``scale``·‖W‖ where it is shorter,
  so that small gradients can still turn large weights.
* **Silence awareness decaying**: a running mean of each weight's sign flips, from 0 on, tells which weights are silent;
  these gain ``decay``·W in their gradient and drift towards zero, where they can flip.

Both rules, the momentum, the threshold and the smallest norms are those of the authors' published code, which trains
CIFAR-10 with ``scale`` 0.04 and ``decay`` 0.0009 under SGD; its ImageNet recipes have 0.01 and 0.00002.
"""

from typing import Any

import torch
from torch import Tensor, nn

from ..layers.weights import LatentWeightLayer

__all__ = ["SilentWeights"]

MOMENTUM = 0.999
SILENT = 1e-4
SMALLEST_WEIGHTS, SMALLEST_GRADIENT = 1e-3, 1e-6
"""Norms of a channel below these count as these."""


class SilentWeights:
    """Watches the binary layers of a network and changes their gradients; 0 switches either part off."""

    def __init__(self, network: nn.Module, *, scale: float, decay: float) -> None:
        self.scale, self.decay = scale, decay
        self.layers = {name: layer for name, layer in network.named_modules() if isinstance(layer, LatentWeightLayer)}
        self.signs = {name: layer.weight.detach() >= 0 for name, layer in self.layers.items()}
        self.flips = {name: torch.zeros_like(layer.weight) for name, layer in self.layers.items()}

    @torch.no_grad()
    def change_gradients(self) -> None:
        """Call between the backward pass and the optimiser's step."""
        for name, layer in self.layers.items():
            gradient = layer.weight.grad
            if gradient is None:
                continue
            if self.scale:
                gradient.mul_(self._stretch(layer.weight, gradient))
            if self.decay:
                signs = layer.weight >= 0
                self.flips[name].lerp_((signs != self.signs[name]).to(gradient.dtype), 1 - MOMENTUM)
                self.signs[name] = signs
                gradient.add_(layer.weight * (self.flips[name] < SILENT), alpha=self.decay)

    def _stretch(self, weight: Tensor, gradient: Tensor) -> Tensor:
        """Return the factor ``[O, 1, …]``, at least 1, that makes every channel's gradient ``scale``·‖W‖ long."""
        axes = tuple(range(1, weight.dim()))
        wanted = weight.square().sum(axes, keepdim=True).sqrt().clamp(min=SMALLEST_WEIGHTS)
        found = gradient.square().sum(axes, keepdim=True).sqrt().clamp(min=SMALLEST_GRADIENT)
        return (self.scale * wanted / found).clamp(min=1.0)

    def state(self) -> dict[str, Any]:
        """Return the tensors from which :meth:`restore` continues."""
        return {"signs": self.signs, "flips": self.flips}

    def restore(self, state: dict[str, Any]) -> None:
        """Take in what :meth:`state` returned."""
        for name, layer in self.layers.items():
            self.signs[name] = state["signs"][name].to(layer.weight.device)
            self.flips[name] = state["flips"][name].to(layer.weight.device)
