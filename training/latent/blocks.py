"""L3 and L4: the latent computation inside each chain of a sign, a binary layer and a batch norm."""

from typing import Any, cast

from torch import Tensor, nn

from ..layers.binary import BinaryConv2d, BinaryLinear
from ..layers.unregistered import Unregistered
from ..models.copying import recast
from ..settings import Settings
from .chains import Chained, Chains
from .objective import LAMBDA, Objective
from .selfcancel import self_cancel
from .streams import RealWeight, plant
from .task import Loss

__all__ = ["BlockFusion", "SelfCancelling"]

Layer = BinaryConv2d | BinaryLinear


class _Fused(Chained):
    """Hands λ·BN_w(φ(x − t) ⊛ W) on beside the layer's result."""

    latent_form: RealWeight
    latent_norm: nn.Module
    latent_objective: Unregistered[Objective]

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = super().forward(x)
        real = self.latent_chains.real(x, self.latent_path)
        latent = self.latent_norm(self.latent_form.forward(real))
        weight = self.latent_objective.module.strength[LAMBDA]
        return self.latent_chains.give(result, weight * latent, self.latent_path)


class BlockFusion(Objective):
    """L3: every block adds the latent features, ever less of them."""

    leaves_unused = True  # once λ is 0

    def __init__(self, network: nn.Module, settings: Settings, *losses: Loss | None) -> None:
        super().__init__(network, settings, *losses)
        self.latent, norms = nn.Module(), dict[Layer, nn.Module]()

        def make(path: str, layer: Layer, chains: Chains) -> Chained:
            kind = nn.BatchNorm2d if isinstance(layer, BinaryConv2d) else nn.BatchNorm1d
            norms[layer] = kind(len(layer.weight)).to(layer.weight.device)
            plant(self.latent, path, norms[layer])
            found: Chained = recast(
                layer,
                _Fused,
                latent_chains=chains,
                latent_path=path,
                latent_form=recast(layer, RealWeight),
                latent_norm=norms[layer],
                latent_objective=Unregistered(self),
            )
            return found

        self.chains = Chains(network, settings.phi, make)
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
        result = self_cancel(cast(Layer, self), x, real, self.latent_eta)
        return self.latent_chains.give(result, None, self.latent_path)


class SelfCancelling(Objective):
    """L4: binary values, gradients of both paths."""

    def __init__(self, network: nn.Module, settings: Settings, *losses: Loss | None) -> None:
        super().__init__(network, settings, *losses)

        def make(path: str, layer: Layer, chains: Chains) -> Chained:
            return recast(  # type: ignore[no-any-return]
                layer, _SelfCancelled, latent_chains=chains, latent_path=path, latent_eta=settings.eta
            )

        self.chains = Chains(network, settings.phi, make)

    def forward(self, inputs: Any, targets: Any, lesson: Any = None) -> tuple[Tensor, Any]:
        """CE of outputs that are the bare network's."""
        outputs = self.chains(inputs)
        return self.task(outputs, targets, lesson), outputs
