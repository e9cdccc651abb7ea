"""The latent branch: the real-valued W as a feature extractor that teaches the binary network.

Our reconstruction from the abstract of "Improving Binary Neural Networks through Fully Utilizing Latent Weights"
(arXiv 2110.05850), whose code and recipe are not published. Notation: a = sign(x − t), B(W) = α·sign(W), ⊛ a
convolution, ρ = RPReLU, S a shortcut, sg = stop-gradient, z logits, b the binary and w the latent stream.

* **L1, two streams.** ``x_b' = ρ(BN_b(a ⊛ B(W)) + S(x_b))`` and ``x_w' = ρ(BN_w(φ(x_w − t) ⊛ W) + S_w(x_w))``.
  Stem, W, t, ρ, classifier and shortcut convolutions are shared; every batch norm behind the first binary layer is
  separate. Loss = CE(z_b) + μ·CE(z_w) + β·T²·KL(sg softmax(z_w/T) ‖ softmax(z_b/T)).

The branch is built *over* a finished network with ``torch.fx`` and shares its modules. The network knows nothing of
it: what is exported is the network, so nothing of the branch can remain.
"""

import copy
from collections.abc import Callable
from typing import Generic, TypeVar

import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..runtime.errors import UnsupportedError
from .binarize import sign
from .layers import BinaryConv2d, BinaryLinear, RSign, per_channel
from .settings import Settings
from .supervision import distillation
from .tracing import trace

__all__ = ["Objective", "build_objective", "two_streams"]

PHI: dict[str, Callable[[Tensor], Tensor]] = {"identity": lambda x: x, "hardtanh": F.hardtanh, "sign": sign}


Layer = TypeVar("Layer", bound=nn.Module)


class _Shared(nn.Module, Generic[Layer]):
    """A latent counterpart of a layer: holds the layer without registering it, so its parameters count once."""

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        self._layer = (layer,)


class LatentSign(_Shared[RSign]):
    """φ(x − t) with the threshold of an RSign."""

    def __init__(self, layer: RSign, phi: str) -> None:
        super().__init__(layer)
        self.phi = PHI[phi]

    def forward(self, x: Tensor) -> Tensor:
        """``[N, C, …]`` to the same shape, real-valued."""
        return self.phi(x - per_channel(self._layer[0].threshold, x))


class LatentConv2d(_Shared[BinaryConv2d]):
    """The convolution of a BinaryConv2d with its real-valued W; its geometry and pad value too."""

    def forward(self, x: Tensor) -> Tensor:
        """``[N, C, H, W]`` to ``[N, O, H', W']``."""
        layer = self._layer[0]
        return layer.convolve(x, layer.weight.to(x.dtype))


class LatentLinear(_Shared[BinaryLinear]):
    """The product of a BinaryLinear with its real-valued W."""

    def forward(self, x: Tensor) -> Tensor:
        """``[…, K]`` to ``[…, O]``."""
        return F.linear(x, self._layer[0].weight.to(x.dtype))


def counterpart(module: nn.Module, phi: str) -> nn.Module | None:
    """Return what stands for ``module`` in the latent stream; None where the module itself is shared."""
    if isinstance(module, RSign):
        return LatentSign(module, phi)
    if isinstance(module, BinaryConv2d):
        return LatentConv2d(module)
    if isinstance(module, BinaryLinear):
        return LatentLinear(module)
    if isinstance(module, _BatchNorm):
        return copy.deepcopy(module)
    return None


def two_streams(network: nn.Module, phi: str) -> tuple[fx.GraphModule, nn.ModuleDict]:
    """Return the graph of both streams, ``images -> (z_b, z_w)``, and the modules that the latent stream adds.

    Every node behind the first binary layer gets a twin; what lies before it (the stem) is computed once and feeds
    both. Twins of shared modules call the very same module. UnsupportedError if no output depends on a binary layer.
    """
    source = trace(network)
    root, added = nn.Module(), nn.ModuleDict()
    root.network, root.latent = network, added
    graph = fx.Graph()
    own: dict[fx.Node, fx.Node] = {}
    twin: dict[fx.Node, fx.Node] = {}
    for node in source.graph.nodes:
        if node.op == "output":
            result = node.args[0]
            if not isinstance(result, fx.Node) or result not in twin:
                raise UnsupportedError(
                    f"{type(network).__name__} cannot have a latent branch: its output must be one tensor that depends"
                    " on a binary layer"
                )
            graph.output((own[result], twin[result]))
            continue
        own[node] = graph.node_copy(node, lambda n: own[n])
        replacement = None
        if node.op in ("call_module", "get_attr"):
            own[node].target = f"network.{node.target}"
        if node.op == "call_module":
            replacement = counterpart(network.get_submodule(str(node.target)), phi)
        binary = isinstance(replacement, _Shared)
        if not binary and not any(n in twin for n in node.all_input_nodes):
            continue
        twin[node] = graph.node_copy(node, lambda n: twin.get(n, own[n]))
        if node.op in ("call_module", "get_attr"):
            twin[node].target = f"network.{node.target}"
        if replacement is not None:
            name = node.name
            added[name] = replacement
            twin[node].target = f"latent.{name}"
    return fx.GraphModule(root, graph, "TwoStreams"), added


class Objective(nn.Module):
    """The loss of a network without a branch: cross-entropy. Subclasses add a latent branch.

    ``forward(images, labels)`` returns the loss (a scalar) and the binary stream's logits ``[N, classes]``.
    """

    has_latent_stream = False

    def __init__(self, network: nn.Module, settings: Settings) -> None:
        super().__init__()
        self.network, self.settings = network, settings

    def cross_entropy(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy in float32 with the configured label smoothing."""
        return F.cross_entropy(logits.float(), labels, label_smoothing=self.settings.label_smoothing)

    def forward(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Images ``[N, C, H, W]``, labels int64 ``[N]``."""
        logits = self.network(images)
        return self.cross_entropy(logits, labels), logits

    def latent_logits(self, images: Tensor) -> Tensor:
        """Return the logits of the latent stream, if there is one."""
        raise UnsupportedError(f"training with latent={self.settings.latent!r} has no latent stream to evaluate")


class TwoStreams(Objective):
    """L1: the binary and the latent stream side by side."""

    has_latent_stream = True

    def __init__(self, network: nn.Module, settings: Settings) -> None:
        super().__init__(network, settings)
        streams, self.latent = two_streams(network, settings.phi)
        # Not registered: its modules are those of the network and of self.latent, which hold the parameters.
        self._streams = (streams,)

    def forward(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """CE(z_b) + μ·CE(z_w) + β·T²·KL(sg softmax(z_w/T) ‖ softmax(z_b/T))."""
        settings = self.settings
        binary, latent = self._streams[0](images)
        loss = self.cross_entropy(binary, labels) + settings.mu * self.cross_entropy(latent, labels)
        if settings.beta:
            loss = loss + settings.beta * distillation(binary, latent, settings.temperature)
        return loss, binary

    def latent_logits(self, images: Tensor) -> Tensor:
        """Logits of the stream that runs on W itself."""
        logits: Tensor = self._streams[0](images)[1]
        return logits


OBJECTIVES: dict[str, type[Objective]] = {"none": Objective, "L1": TwoStreams}


def build_objective(network: nn.Module, settings: Settings) -> Objective:
    """Return the training objective of ``settings.latent`` over ``network``."""
    return OBJECTIVES[settings.latent](network, settings)
