"""A network run in another form: a copy of its modules over the same parameters, some of them replaced.

The forward pass of the network stays its own Python. :func:`latent_stream` is the form of L1, in which W and φ stand
for the signs; what L2, L3 and L4 replace stands in :mod:`.stages` and :mod:`.chains`.
"""

import copy
from collections.abc import Callable, Mapping
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

__all__ = ["LatentSign", "RealWeight", "Stream", "answer", "latent_sign", "latent_stream", "plant"]

Activation = Callable[[Tensor], Tensor]

PHI: MappingProxyType[str, Activation] = table_of(
    "phi", {"identity": lambda x: x, "hardtanh": F.hardtanh, "sign": sign}
)

Rule = Callable[[str, nn.Module], nn.Module | None]
"""What stands for a module, given its path, in a copy; None where a copy of it does."""


class LatentSign(RSign):
    """φ(x − t) with the threshold of an RSign."""

    latent_phi: Activation

    def forward(self, x: Tensor) -> Tensor:
        """``[N, C, …]`` to the same shape, real-valued."""
        return self.latent_phi(minus(x, self.threshold))


class RealWeight(LatentWeightLayer):
    """A binary layer that computes with W itself."""

    real = property(lambda self: True)


class Stream:
    """A copy of ``network`` in which ``rule`` replaces modules; it is no part of the state of what holds it.

    Parameters and buffers are the network's. Before each run every module takes on the mode of the one it is a copy of.
    """

    def __init__(self, network: nn.Module, rule: Rule) -> None:
        paths = dict(network.named_modules())
        if not any(isinstance(module, LatentWeightLayer) for module in paths.values()):
            raise UnsupportedError(f"{type(network).__name__} has no binary layer: nothing for a latent branch to use")
        place = bound_function(network)
        if place is not None:
            raise UnsupportedError(
                f"{place} of {type(network).__name__} holds a function that refers to a module of the network, which a"
                " latent branch would call in the place of its own: make it a method"
            )
        made = {module: rule(path, module) for path, module in paths.items()}
        self.module, self.copies = shared_copy(network, {old: new for old, new in made.items() if new is not None})
        self._modes = [(old, new) for old, new in self.copies.items() if vars(old) is not vars(new)]

    def follow(self, module: nn.Module, other: nn.Module) -> None:
        """Give ``other`` the mode of a module of the network before each run."""
        self._modes.append((module, other))

    def __call__(self, inputs: Any) -> Any:
        """Return the outputs of the copy."""
        for module, copied in self._modes:
            if copied.training != module.training:
                copied.training = module.training
        return answer(self.module, inputs)


def answer(network: nn.Module, inputs: Any) -> Any:
    """Return the outputs of a network for its input, or for the tuple of its inputs."""
    return network(*inputs) if isinstance(inputs, tuple) else network(inputs)


def latent_sign(path: str, sign: RSign, phi: str) -> LatentSign:
    """Return what stands for a sign in the latent stream; UnsupportedError if it does not compute what RSign does."""
    if getattr(sign.forward, "__func__", None) is not RSign.forward:
        raise UnsupportedError(
            f"{path} has a forward of its own in the place of RSign's: a latent branch cannot tell what the real values"
            " are there"
        )
    found: LatentSign = recast(sign, LatentSign, latent_phi=staticmethod(PHI[phi]))
    return found


def latent_stream(network: nn.Module, phi: str, around: Rule | None = None) -> tuple[Stream, nn.Module]:
    """Return the stream that computes with W, and the norms it has of its own, by their paths in the network.

    ``around`` may replace the modules of the stream once more.
    """

    def rule(path: str, module: nn.Module) -> nn.Module | None:
        found: nn.Module | None = None
        if isinstance(module, RSign):
            found = latent_sign(path, module, phi)
        elif isinstance(module, LatentWeightLayer):
            found = recast(module, RealWeight)
        again = None if around is None else around(path, module if found is None else found)
        return found if again is None else again

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
