"""Chains of a sign, a binary layer and a batch norm, which L3 and L4 change inside, followed while a stream runs."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import SyncBatchNorm, _BatchNorm

from ...runtime.errors import UnsupportedError
from ..layers.binary import BinaryConv2d, BinaryLinear, RSign
from ..layers.channels import minus
from ..layers.weights import LatentWeightLayer
from .streams import PHI, Change, Stream, real_sign

__all__ = ["Chained", "Chains"]


class Chains:
    """What the sign, the layer and the norm of a chain hand to each other in one pass, told apart by the very tensors.

    ``layer(path)`` returns what the binary layer under a path becomes, a :class:`Chained` and its attributes.
    """

    def __init__(
        self, network: nn.Module, phi: str, layer: Callable[[str], "tuple[type[Chained], dict[str, Any]]"]
    ) -> None:
        self.name, self.phi, self.layer = type(network).__name__, phi, layer
        self.reals: list[tuple[Tensor, Tensor]] = []
        self.results: list[tuple[Tensor, Tensor | None, str]] = []
        self.closed: list[Tensor] = []
        self.stream = Stream(network, self.rule)

    def __call__(self, inputs: Any) -> Any:
        """Return the outputs of the changed network; UnsupportedError names a layer that stands in no chain."""
        self._forget()
        outputs = self.stream(inputs)
        for result, _, path in self.results:
            if not any(result is closed for closed in self.closed):
                raise self.refusal(path)
        self._forget()
        return outputs

    def rule(self, path: str, module: nn.Module) -> list[Change]:
        """Return what a sign, a binary layer or a batch norm becomes."""
        own: dict[str, Any] = {"latent_chains": self}
        forward = getattr(module.forward, "__func__", None)
        if isinstance(module, RSign):
            return [(_Sign, own | real_sign(path, module, PHI[self.phi]))]
        if isinstance(module, LatentWeightLayer):
            if forward not in (BinaryConv2d.forward, BinaryLinear.forward):
                raise self.refusal(path)
            kind, attributes = self.layer(path)
            return [(kind, own | {"latent_path": path} | attributes)]
        if isinstance(module, _BatchNorm) and forward in (_BatchNorm.forward, SyncBatchNorm.forward):
            return [(_Norm, own)]
        return []

    def refusal(self, path: str) -> UnsupportedError:
        """Return the error for a layer outside of a chain."""
        return UnsupportedError(
            f"{path} of {self.name} is not between an RSign and a batch norm: this latent variant needs that chain; use"
            " L1"
        )

    def real(self, signs: Tensor, path: str) -> Tensor:
        """Return φ(x − t) for the signs of x that a layer reads."""
        for known, real in self.reals:
            if known is signs:
                return real
        raise self.refusal(path)

    def give(self, result: Tensor, latent: Tensor | None, path: str) -> Tensor:
        """Hand a layer's result to the norm behind it, and what is to be added behind that norm."""
        self.results.append((result, latent, path))
        return result

    def close(self, result: Tensor) -> Tensor | None:
        """Return what is to be added behind the norm of a layer's result."""
        for known, latent, _ in self.results:
            if known is result:
                self.closed.append(result)
                return latent
        return None

    def _forget(self) -> None:
        self.reals.clear()
        self.results.clear()
        self.closed.clear()


class Chained(LatentWeightLayer):
    """A binary layer in a chain; subclasses say what it computes."""

    latent_chains: Chains
    latent_path: str


class _Sign(RSign):
    """Hands φ(x − t) on beside the signs."""

    latent_chains: Chains
    latent_phi: Callable[[Tensor], Tensor]

    def forward(self, x: Tensor) -> Tensor:
        signs = super().forward(x)
        self.latent_chains.reals.append((signs, self.latent_phi(minus(x, self.threshold))))
        return signs


class _Norm(nn.Module):
    """Adds to its result what the layer before it gave."""

    latent_chains: Chains

    def forward(self, input: Tensor) -> Tensor:
        out: Tensor = super().forward(input)
        latent = self.latent_chains.close(input)
        return out if latent is None else out + latent
