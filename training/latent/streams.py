"""Graphs of the latent branch, built with ``torch.fx`` over a finished network whose modules they share.

:func:`two_streams` doubles every node behind the first binary layer; :func:`fused` adds the latent computation inside
each block. Both return a graph and the modules that the branch adds (batch norms, and counterparts that hold no
parameters of their own). The mathematics that uses them is in :mod:`.objectives`.
"""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Generic, TypeVar

import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ...runtime.errors import UnsupportedError
from ..layers.binary import BinaryConv2d, BinaryLinear, RSign
from ..layers.channels import minus
from ..layers.signs import sign
from ..layers.tracing import trace
from ..layers.unregistered import Unregistered
from ..settings import table_of

__all__ = ["LatentSign", "fused", "latent_layer", "two_streams"]

Activation = Callable[[Tensor], Tensor]

PHI: MappingProxyType[str, Activation] = table_of(
    "phi", {"identity": lambda x: x, "hardtanh": F.hardtanh, "sign": sign}
)

Layer = TypeVar("Layer", bound=nn.Module)


class _Shared(nn.Module, Generic[Layer]):
    """A latent counterpart of a layer; the parameters stay those of the layer."""

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        self._layer = Unregistered(layer)


class LatentSign(_Shared[RSign]):
    """φ(x − t) with the threshold of an RSign."""

    def __init__(self, layer: RSign, phi: str) -> None:
        super().__init__(layer)
        self.phi = PHI[phi]

    def forward(self, x: Tensor) -> Tensor:
        """``[N, C, …]`` to the same shape, real-valued."""
        return self.phi(minus(x, self._layer.module.threshold))


class LatentConv2d(_Shared[BinaryConv2d]):
    """The convolution of a BinaryConv2d with its real-valued W; its geometry and pad value too."""

    def forward(self, x: Tensor) -> Tensor:
        """``[N, C, H, W]`` to ``[N, O, H', W']``."""
        layer = self._layer.module
        return layer.convolve(x, layer.latent_weight().to(x.dtype))


class LatentLinear(_Shared[BinaryLinear]):
    """The product of a BinaryLinear with its real-valued W."""

    def forward(self, x: Tensor) -> Tensor:
        """``[…, K]`` to ``[…, O]``."""
        return F.linear(x, self._layer.module.latent_weight().to(x.dtype))


class Take(nn.Module):
    """The first share of a batch while training, all of it in eval mode."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, x: Tensor) -> Tensor:
        """``[N, …]`` to ``[ceil(share·N), …]``."""
        return x[: math.ceil(self.share * len(x))] if self.training else x


def latent_layer(layer: BinaryConv2d | BinaryLinear) -> nn.Module:
    """Return the counterpart of a binary layer that computes with W itself."""
    return LatentConv2d(layer) if isinstance(layer, BinaryConv2d) else LatentLinear(layer)


def counterpart(module: nn.Module, phi: str) -> nn.Module | None:
    """Return what stands for ``module`` in the latent stream; None where the module itself is shared."""
    if isinstance(module, RSign):
        return LatentSign(module, phi)
    if isinstance(module, BinaryConv2d | BinaryLinear):
        return latent_layer(module)
    if isinstance(module, _BatchNorm):
        return copy.deepcopy(module)
    return None


@dataclass(frozen=True)
class Streams:
    """Both streams as one graph, ``images -> (z_b, z_w, features_b, features_w, pooled_b)``.

    Features are tuples of the activations at the end of each stage (before each strided binary convolution and each
    pool); ``pooled_b`` is the input of the classifier, a dense layer of ``classifier_shape`` (classes, size)
    or None.
    """

    graph: fx.GraphModule
    added: nn.ModuleDict
    classifier_shape: tuple[int, int] | None


class _Copy:
    """Copies a traced graph under the name ``network``, node by node."""

    def __init__(self, network: nn.Module) -> None:
        self.network, self.source = network, trace(network)
        self.root, self.added, self.graph = nn.Module(), nn.ModuleDict(), fx.Graph()
        self.root.network, self.root.latent = network, self.added
        self.own: dict[fx.Node, fx.Node] = {}

    def node(self, node: fx.Node, inputs: Callable[[fx.Node], fx.Node]) -> fx.Node:
        made = self.graph.node_copy(node, inputs)
        if node.op in ("call_module", "get_attr"):
            made.target = f"network.{node.target}"
        return made

    def module(self, node: fx.Node) -> nn.Module | None:
        return self.network.get_submodule(str(node.target)) if node.op == "call_module" else None

    def add(self, name: str, module: nn.Module) -> str:
        self.added[name] = module
        return f"latent.{name}"

    def finish(self, name: str) -> fx.GraphModule:
        return fx.GraphModule(self.root, self.graph, name)


def two_streams(network: nn.Module, phi: str, share: float = 1.0) -> Streams:
    """Return both streams of ``network``; the latent one reads the first ``share`` of a training batch.

    Every node behind the first binary layer gets a twin; what lies before it (the stem) is computed once and feeds
    both. Twins of shared modules call the very same module. UnsupportedError if no output depends on a binary layer.
    """
    c = _Copy(network)
    twin: dict[fx.Node, fx.Node] = {}
    taken: dict[fx.Node, fx.Node] = {}

    def latent_input(node: fx.Node) -> fx.Node:
        if node in twin:
            return twin[node]
        if share >= 1 or node.op == "get_attr":
            return c.own[node]
        if node not in taken:
            name = f"take_{node.name}"
            taken[node] = c.graph.call_module(c.add(name, Take(share)), (c.own[node],))
        return taken[node]

    for node in c.source.graph.nodes:
        if node.op == "output":
            break
        c.own[node] = c.node(node, lambda n: c.own[n])
        module = c.module(node)
        replacement = None if module is None else counterpart(module, phi)
        if not isinstance(replacement, _Shared) and not any(n in twin for n in node.all_input_nodes):
            continue
        twin[node] = c.node(node, latent_input)
        if replacement is not None:
            twin[node].target = c.add(node.name, replacement)
    result = c.source.graph.output_node().args[0]
    if not isinstance(result, fx.Node) or result not in twin:
        raise UnsupportedError(
            f"{type(network).__name__} cannot have a latent branch: its output must be one tensor that depends on a"
            " binary layer"
        )
    stages = [node for node in _stage_ends(c) if node in twin]
    classifier, before = c.module(result), result.all_input_nodes[0]
    shape = (classifier.out_features, classifier.in_features) if isinstance(classifier, nn.Linear) else None
    own, latent = tuple(c.own[n] for n in stages), tuple(twin[n] for n in stages)
    c.graph.output((c.own[result], twin[result], own, latent, c.own[before]))
    return Streams(c.finish("TwoStreams"), c.added, shape)


def _stage_ends(c: _Copy) -> list[fx.Node]:
    """Return the nodes whose values end a stage: what a strided binary convolution or a pool reads."""
    ends: list[fx.Node] = []
    for node in c.source.graph.nodes:
        module = c.module(node)
        if isinstance(module, nn.AdaptiveAvgPool2d | nn.MaxPool2d):
            ends.append(node.all_input_nodes[0])
        if isinstance(module, BinaryConv2d) and max(module.stride) > 1:
            source = node.all_input_nodes[0]
            ends.append(source.all_input_nodes[0] if isinstance(c.module(source), RSign) else source)
    return list(dict.fromkeys(ends))


Fuse = Callable[[RSign, BinaryConv2d | BinaryLinear, _BatchNorm], nn.Module]


def fused(network: nn.Module, build: Fuse, *, behind_norm: bool) -> tuple[fx.GraphModule, nn.ModuleDict]:
    """Return ``network`` with ``build(sign, layer, norm)`` in each chain RSign -> binary layer -> batch norm.

    With ``behind_norm`` the built module follows the batch norm and is called with (its output, the sign's input);
    else it stands for the binary layer and is called with (the signs, the sign's input).
    Returns the graph and the built modules by name. UnsupportedError names another chain.
    """
    c = _Copy(network)
    for node in c.source.graph.nodes:
        if node.op == "output":
            c.graph.output(c.own[node.all_input_nodes[0]])
            break
        c.own[node] = c.node(node, lambda n: c.own[n])
        module = c.module(node)
        if not isinstance(module, BinaryConv2d | BinaryLinear):
            source = node.all_input_nodes[0] if node.all_input_nodes else None
            layer = None if source is None else c.module(source)
            if behind_norm and isinstance(module, _BatchNorm) and isinstance(layer, BinaryConv2d | BinaryLinear):
                assert source is not None
                real = source.all_input_nodes[0].all_input_nodes[0]
                target = f"latent.{source.name}"
                c.own[node] = c.graph.call_module(target, (c.own[node], c.own[real]))
            continue
        signs = node.all_input_nodes[0]
        first, users = c.module(signs), list(node.users)
        norm = c.module(users[0]) if len(users) == 1 else None
        if not isinstance(first, RSign) or not isinstance(norm, _BatchNorm):
            raise UnsupportedError(
                f"{node.target} of {type(network).__name__} is not between an RSign and a batch norm: this latent"
                " variant needs that chain; use L1"
            )
        target = c.add(node.name, build(first, module, norm))
        if not behind_norm:
            c.own[node].target = target
            c.own[node].args = (c.own[signs], c.own[signs.all_input_nodes[0]])
    if not c.added:
        raise UnsupportedError(f"{type(network).__name__} has no binary layer: nothing for a latent branch to use")
    return c.finish("Fused"), c.added
