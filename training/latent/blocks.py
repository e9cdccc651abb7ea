"""L3 and L4: the latent computation inside each chain of a sign, a binary layer and a batch norm."""

from typing import Any, cast

import torch.nn.functional as F
from torch import Tensor, nn

from ..layers.binary import BinaryConv2d, BinaryLinear
from ..layers.weights import LatentWeightLayer
from ..settings import Settings
from .chains import Chained, Chains
from .objective import LAMBDA, Objective
from .selfcancel import self_cancel
from .streams import plant
from .task import Loss

__all__ = ["BlockFusion", "SelfCancelling"]


class _Fused(Chained):
    """Hands λ·BN_w(φ(x − t) ⊛ W) on beside the layer's result."""

    latent_norm: nn.Module
    latent_objective: Objective

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = super().forward(x)
        real = self.latent_chains.real(x, self.latent_path)
        weight = self.latent_weight().to(real.dtype)
        latent = self.convolve(real, weight) if isinstance(self, BinaryConv2d) else F.linear(real, weight)
        share = self.latent_objective.strength[LAMBDA]
        return self.latent_chains.give(result, share * self.latent_norm(latent), self.latent_path)


class BlockFusion(Objective):
    """L3: every block adds the latent features, ever less of them."""

    leaves_unused = True  # once λ is 0

    def __init__(self, network: nn.Module, settings: Settings, *losses: Loss | None) -> None:
        super().__init__(network, settings, *losses)
        self.latent, norms = nn.Module(), dict[nn.Module, nn.Module]()

        def fused(path: str) -> tuple[type[Chained], dict[str, Any]]:
            layer = network.get_submodule(path)
            assert isinstance(layer, LatentWeightLayer)
            kind = nn.BatchNorm2d if isinstance(layer, BinaryConv2d) else nn.BatchNorm1d
            norms[layer] = kind(len(layer.weight)).to(layer.weight.device, layer.weight.dtype)
            plant(self.latent, path, norms[layer])
            return _Fused, {"latent_norm": norms[layer], "latent_objective": self}

        self.chains = Chains(network, settings.phi, fused)
        for layer, norm in norms.items():
            self.chains.stream.follow(layer, norm)

    def forward(self, inputs: Any, targets: Any, lesson: Any = None) -> tuple[Tensor, Any]:
        """CE of the fused network; of the bare network once λ is 0."""
        if self.faded:
            return super().forward(inputs, targets, lesson)
        outputs = self.chains(inputs)
        return self.task(outputs, targets, lesson), outputs


class _SelfCancelled(Chained):
    """Has the value of the binary layer and the gradient of both paths."""

    latent_eta: float

    def forward(self, x: Tensor) -> Tensor:
        real = self.latent_chains.real(x, self.latent_path)
        result = self_cancel(cast(BinaryConv2d | BinaryLinear, self), x, real, self.latent_eta)
        return self.latent_chains.give(result, None, self.latent_path)


class SelfCancelling(Objective):
    """L4: binary values, gradients of both paths."""

    def __init__(self, network: nn.Module, settings: Settings, *losses: Loss | None) -> None:
        super().__init__(network, settings, *losses)
        self.chains = Chains(network, settings.phi, lambda path: (_SelfCancelled, {"latent_eta": settings.eta}))

    def forward(self, inputs: Any, targets: Any, lesson: Any = None) -> tuple[Tensor, Any]:
        """CE of outputs that are the bare network's."""
        outputs = self.chains(inputs)
        return self.task(outputs, targets, lesson), outputs
