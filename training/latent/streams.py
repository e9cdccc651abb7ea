"""A network run in another form: a copy of its modules over the same parameters, some of them replaced.

The forward pass of the network stays its own Python. :func:`latent_stream` is the form of L1, in which W and φ stand
for the signs; what L2, L3 and L4 replace stands in :mod:`.stages` and :mod:`.chains`.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from ...runtime.errors import UnsupportedError
from ..layers.binary import RSign
from ..layers.channels import minus
from ..layers.signs import sign
from ..layers.weights import LatentWeightLayer
from ..models.copying import bound_function, recast, shared_copy
from ..settings import table_of

__all__ = ["PHI", "Change", "Stream", "answer", "latent_stream", "plant", "real_sign"]

Activation = Callable[[Tensor], Tensor]

PHI: MappingProxyType[str, Activation] = table_of(
    "phi", {"identity": lambda x: x, "hardtanh": F.hardtanh, "sign": sign}
)

Change = tuple[type[nn.Module], dict[str, Any]]
"""A class that a copied module takes on, with attributes of it."""
Rule = Callable[[str, nn.Module], Sequence[Change]]
"""What the copy of a module, given by its path, becomes, one after the other."""
FOLLOWED = ("training", "progress", "bits", "estimate", "regularise")
"""What a copy takes from its module before each run; of modules that are none of our layers it is the mode alone."""


class LatentSign(RSign):
    """φ(x − t) with the threshold of an RSign."""

    latent_phi: Activation

    def forward(self, x: Tensor) -> Tensor:
        """``[N, C, …]`` to the same shape, real-valued."""
        return self.latent_phi(minus(x, self.threshold))


class RealWeight(LatentWeightLayer):
    """A binary layer that computes with W itself, or with W in ``latent_bits``."""

    latent_bits = 0


class Stream:
    """A copy of ``network`` in which modules are changed by a rule; it is no part of the state of what holds it.

    Parameters and buffers are the network's. Each module takes on the mode of the one it is a copy of before each run,
    and of binary layers what may be chosen.
    """

    def __init__(self, network: nn.Module, rule: Rule) -> None:
        name = type(network).__name__
        if not any(isinstance(module, LatentWeightLayer) for module in network.modules()):
            raise UnsupportedError(f"{name} has no binary layer: nothing for a latent branch to use")
        if any(isinstance(module, nn.parallel.DistributedDataParallel) for module in network.modules()):
            raise UnsupportedError(f"{name} is or holds a DistributedDataParallel: put it around the objective instead")
        place = bound_function(network)
        if place is not None:
            raise UnsupportedError(
                f"{place} of {name} holds a function that refers to a module of the network, which a latent branch"
                " would call in the place of its own: make it a method"
            )
        self.module, self.copies = shared_copy(network)
        self._followers: list[tuple[nn.Module, nn.Module, tuple[str, ...]]] = []
        for path, module in network.named_modules():
            for kind, attributes in rule(path, module):
                recast(self.copies[module], kind, **attributes)
            if self.copies[module] is not module:
                self.follow(module, self.copies[module])

    def follow(self, module: nn.Module, other: nn.Module) -> None:
        """Give ``other`` before each run the mode of a module of the network, and what is chosen for a binary layer."""
        names = FOLLOWED if isinstance(other, RSign | LatentWeightLayer) else FOLLOWED[:1]
        known = [name for name in names if hasattr(module, name)]
        if isinstance(other, RealWeight):
            other.bits = other.latent_bits
            known.remove("bits")
        self._followers.append((module, other, tuple(known)))

    def __call__(self, inputs: Any) -> Any:
        """Return the outputs of the copy."""
        for module, other, names in self._followers:
            for name in names:
                value = getattr(module, name)
                if getattr(other, name) != value:
                    setattr(other, name, value)
        return answer(self.module, inputs)


def answer(network: nn.Module, inputs: Any) -> Any:
    """Return the outputs of a network for its input, or for the tuple of its inputs."""
    return network(*inputs) if isinstance(inputs, tuple) else network(inputs)


def real_sign(path: str, sign: RSign, phi: Activation) -> dict[str, Any]:
    """Return the attributes of a sign that gives φ(x − t); UnsupportedError if it does not compute what RSign does."""
    if getattr(sign.forward, "__func__", None) is not RSign.forward:
        raise UnsupportedError(
            f"{path} has a forward of its own in the place of RSign's: a latent branch cannot tell what the real values"
            " are there"
        )
    return {"latent_phi": staticmethod(phi)}


def latent_stream(
    network: nn.Module,
    phi: Activation,
    further: Rule = lambda path, module: (),
    weight_bits: int = 0,
) -> tuple[Stream, nn.Module]:
    """Return the stream that computes with W, and the norms it has of its own, by their paths in the network.

    ``further`` may change the modules of the stream once more; ``weight_bits`` is the width of W in it, 0 for W itself.
    """

    def rule(path: str, module: nn.Module) -> list[Change]:
        changes: list[Change] = []
        if isinstance(module, RSign):
            changes = [(LatentSign, real_sign(path, module, phi))]
        elif isinstance(module, LatentWeightLayer):
            changes = [(RealWeight, {"latent_bits": weight_bits})]
        return [*changes, *further(path, module)]

    stream, own = Stream(network, rule), nn.Module()
    made: dict[int, Any] = {}
    for path, module in network.named_modules():
        state = (*module.parameters(recurse=False), *module.buffers(recurse=False))
        if isinstance(module, _NormBase) and state:
            norm = stream.copies[module]
            for name in ("_parameters", "_buffers"):
                vars(norm)[name] = copy.deepcopy(vars(module)[name], made)
            plant(own, path, norm)
    return stream, own


def plant(root: nn.Module, path: str, module: nn.Module) -> None:
    """Make the state of ``module`` itself, without that of modules in it, part of ``root`` under a path."""
    *above, name = path.split(".")
    for part in above:
        if part not in root._modules:
            root.add_module(part, nn.Module())
        root = root._modules[part]  # type: ignore[assignment]
    state: Mapping[str, Any] = {**vars(module), "_modules": {}}
    leaf = type(module).__new__(type(module))
    vars(leaf).update(state)
    root.add_module(name, leaf)
