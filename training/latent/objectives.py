"""The latent branch: the real-valued W as a feature extractor that teaches the binary network.

Our reconstruction from the abstract of "Improving Binary Neural Networks through Fully Utilizing Latent Weights"
(arXiv 2110.05850), whose code and recipe are not published. Notation: a = sign(x − t), B(W) = α·sign(W), ⊛ a
convolution, φ = identity, hardtanh or sign, ρ = RPReLU, S a shortcut, sg = stop-gradient, z logits, b the binary and
w the latent stream, λ falls from 1 to 0 along a cosine by the share ``fade`` of the schedule and is 0 from then on.

* **L1, two streams.** ``x_b' = ρ(BN_b(a ⊛ B(W)) + S(x_b))`` and ``x_w' = ρ(BN_w(φ(x_w − t) ⊛ W) + S_w(x_w))``.
  Stem, W, t, ρ, classifier and shortcut convolutions are shared; every batch norm behind the first binary layer is
  separate. Loss = CE(z_b) + μ·CE(z_w) + β·T²·KL(sg softmax(z_w/T) ‖ softmax(z_b/T)).
* **L2, L1 and features.** Adds γ·Σ_stages ‖f_b/‖f_b‖ − sg(f_w/‖f_w‖)‖² and a centre loss on the pooled f_b.
* **L3, block fusion, fading.** ``u = BN_b(a ⊛ B(W)) + λ·BN_w(φ(x − t) ⊛ W)``; loss = CE.
* **L4, self-cancelling.** ``u = BN_b(y_b + λ_g·(y_w − sg y_w))`` with y_b = a ⊛ B(W), y_w = φ(x − t) ⊛ W and
  λ_g = η·‖g_b‖/(‖g_w‖ + ε), g the gradients that the two paths send into W: the value is the binary one, the gradient
  gains the latent path. Loss = CE.
* **L5, logit ensemble.** Loss = CE((1 − λ)·z_b + λ·z_w) + CE(z_b) over the streams of L1.

The branch is built *over* a finished network (:mod:`.streams`) and shares its modules. The network knows nothing of
it: what is exported is the network, so nothing of the branch can remain.
"""

import math
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ...runtime.errors import ConfigError, UnsupportedError
from ..layers.binary import BinaryConv2d, BinaryLinear, RSign, set_progress
from ..layers.unregistered import Unregistered
from ..settings import Settings, table_of
from .selfcancel import SelfCancel
from .streams import LatentSign, fused, latent_layer, two_streams
from .supervision import CentreLoss, feature_distance
from .task import Loss, Task

__all__ = ["OBJECTIVES", "Objective", "build_objective", "fading"]

MU, BETA, GAMMA, LAMBDA = range(4)
"""Places in :attr:`Objective.strength`."""


def fading(progress: float, until: float) -> float:
    """λ: 1 at the start, 0 from ``until`` on, half a cosine between."""
    return 0.5 * (1 + math.cos(math.pi * progress / until)) if progress < until else 0.0


def answer(network: nn.Module, inputs: Any) -> Any:
    """Return the outputs of a network for its input, or for the tuple of its inputs."""
    return network(*inputs) if isinstance(inputs, tuple) else network(inputs)


class Objective(nn.Module):
    """The loss of a network without a branch. Subclasses add a latent branch.

    ``forward(inputs, targets)`` returns the loss (a scalar) and the binary stream's outputs. ``inputs`` is the
    network's input, or the tuple of its inputs; what targets and outputs are, the loss decides (:class:`.task.Task`).
    """

    has_latent_stream = False
    """Whether :meth:`latent_logits` answers."""
    strength: Tensor
    """Float32 ``[4]``, in the order of :data:`MU`, …: μ, β, γ after their ramps, and λ.

    A tensor, so that a compiled step need not be recompiled.
    """

    def __init__(
        self, network: nn.Module, settings: Settings, task_loss: Loss | None = None, distance: Loss | None = None
    ) -> None:
        super().__init__()
        self.network, self.settings, self.task = network, settings, Task(settings, task_loss, distance)
        self.register_buffer(
            "strength", torch.tensor([settings.mu, settings.beta, settings.gamma, 1.0]), persistent=False
        )
        self.faded = False

    @property
    def leaves_unused(self) -> bool:
        """Whether the loss of some step does not depend on all parameters; the averaging of gradients must know."""
        return False

    def set_progress(self, progress: float, step: int) -> None:
        """Tell the share of the schedule that has passed and the number of the step, before each step."""
        settings = self.settings
        set_progress(self.network, progress)
        fade = fading(progress, settings.fade)
        self.faded = fade == 0
        ramped = [
            value * (min(1.0, progress / ramp) if ramp else 1.0)
            for value, ramp in (
                (settings.mu, settings.mu_ramp),
                (settings.beta, settings.beta_ramp),
                (settings.gamma, settings.gamma_ramp),
            )
        ]
        # Filled one by one: a tensor made here and copied to a GPU would make the host wait for it at every step.
        for place, value in enumerate((*ramped, fade)):
            self.strength[place].fill_(value)

    def forward(self, inputs: Any, targets: Any, lesson: Any = None) -> tuple[Tensor, Any]:
        """Return the loss and the network's outputs; ``lesson`` holds a teacher's outputs if there is one."""
        outputs = answer(self.network, inputs)
        return self.task(outputs, targets, lesson), outputs

    def latent_logits(self, images: Tensor) -> Tensor:
        """Return the logits of the latent stream, if there is one."""
        raise UnsupportedError(f"training with latent={self.settings.latent!r} has no latent stream to evaluate")


class TwoStreams(Objective):
    """L1: the binary and the latent stream side by side.

    Cheaper forms: the stream reads a share of the batch, runs on every n-th step, or in the first part of the schedule.
    """

    has_latent_stream = True

    def __init__(self, network: nn.Module, settings: Settings, *losses: Loss | None) -> None:
        super().__init__(network, settings, *losses)
        streams = two_streams(network, settings.phi, settings.latent_share)
        self.latent, self.classifier_shape = streams.added, streams.classifier_shape
        # Its modules are those of the network and of self.latent, which hold the parameters.
        self._graph = Unregistered(streams.graph)
        self.active = True

    @property
    def leaves_unused(self) -> bool:
        """The latent stream's own batch norms, where it does not run in every step."""
        return self.settings.latent_every > 1 or self.settings.latent_until < 1

    def set_progress(self, progress: float, step: int) -> None:
        """Decide whether the latent stream runs in this step."""
        super().set_progress(progress, step)
        self.active = progress < self.settings.latent_until and step % self.settings.latent_every == 0

    def streams(self, images: Tensor) -> tuple[Tensor, Tensor, tuple[Tensor, ...], tuple[Tensor, ...], Tensor]:
        """Return ``(z_b, z_w, features_b, features_w, pooled_b)``: see :class:`.streams.Streams`."""
        found: tuple[Tensor, Tensor, tuple[Tensor, ...], tuple[Tensor, ...], Tensor] = self._graph.module(images)
        return found

    def forward(self, images: Tensor, labels: Tensor, lesson: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """CE(z_b) + μ·CE(z_w) + β·T²·KL(sg softmax(z_w/T) ‖ softmax(z_b/T))."""
        if not self.active:
            return super().forward(images, labels, lesson)
        binary, latent, own, other, pooled = self.streams(images)
        loss = self.task(binary, labels, lesson) + self.extra_loss(binary, latent, labels, lesson)
        return loss + self.feature_loss(own, other, pooled, labels), binary

    def extra_loss(self, binary: Tensor, latent: Tensor, labels: Tensor, lesson: Tensor | None) -> Tensor:
        """Return what the latent logits add; they may be of the first part of the batch only."""
        part = len(latent)
        own: Tensor = self.strength[MU] * self.task(latent, labels[:part], None if lesson is None else lesson[:part])
        if not self.task.has_distance:
            return own
        return own + self.strength[BETA] * self.task.teach(binary[:part], latent.detach(), self.settings.temperature)

    def feature_loss(
        self, own: tuple[Tensor, ...], other: tuple[Tensor, ...], pooled: Tensor, labels: Tensor
    ) -> Tensor | float:
        """Return what the features add: nothing here."""
        return 0.0

    def latent_logits(self, images: Tensor) -> Tensor:
        """Logits of the stream that runs on W itself."""
        return self.streams(images)[1]


class FeatureSupervised(TwoStreams):
    """L2: L1 with supervision of the features."""

    def __init__(self, network: nn.Module, settings: Settings, *losses: Loss | None) -> None:
        super().__init__(network, settings, *losses)
        self.centres: CentreLoss | None = None
        if settings.centre:
            if not self.classifier_shape:
                raise UnsupportedError("the centre loss needs a network that ends in a dense layer: use centre = 0")
            self.centres = CentreLoss(*self.classifier_shape)

    def feature_loss(
        self, own: tuple[Tensor, ...], other: tuple[Tensor, ...], pooled: Tensor, labels: Tensor
    ) -> Tensor | float:
        """γ·Σ_stages ‖f_b/‖f_b‖ − sg(f_w/‖f_w‖)‖² + centre loss."""
        distances = [feature_distance(a[: len(b)], b) for a, b in zip(own, other, strict=True)]
        if not distances:
            raise ConfigError("this network has no stages to supervise: use L1 in place of L2")
        loss = self.strength[GAMMA] * torch.stack(distances).sum()
        return loss if self.centres is None else loss + self.settings.centre * self.centres(pooled, labels)


class LogitEnsemble(TwoStreams):
    """L5: cross-entropy on a mixture of both streams' logits, fading to the binary stream alone."""

    leaves_unused = True  # once λ is 0

    def forward(self, images: Tensor, labels: Tensor, lesson: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """CE((1 − λ)·z_b + λ·z_w) + CE(z_b)."""
        if not self.active or self.faded:
            loss, binary = Objective.forward(self, images, labels, lesson)
            return 2 * loss, binary
        binary, latent, *_ = self.streams(images)
        return self.task(binary, labels, lesson) + self.extra_loss(binary, latent, labels, lesson), binary

    def extra_loss(self, binary: Tensor, latent: Tensor, labels: Tensor, lesson: Tensor | None) -> Tensor:
        """CE((1 − λ)·z_b + λ·z_w)."""
        part, weight = len(latent), self.strength[LAMBDA]
        loss: Tensor = self.task(
            (1 - weight) * binary[:part] + weight * latent, labels[:part], None if lesson is None else lesson[:part]
        )
        return loss


class _FusedBlock(nn.Module):
    """λ·BN_w(φ(x − t) ⊛ W) added to what the binary path gives."""

    def __init__(self, sign: RSign, layer: BinaryConv2d | BinaryLinear, norm: _BatchNorm, objective: Objective) -> None:
        super().__init__()
        self.path = nn.Sequential(
            LatentSign(sign, objective.settings.phi), latent_layer(layer), type(norm)(norm.num_features)
        )
        self._objective = Unregistered(objective)

    def forward(self, binary: Tensor, x: Tensor) -> Tensor:
        latent: Tensor = self.path(x)
        return binary + self._objective.module.strength[LAMBDA] * latent


class BlockFusion(Objective):
    """L3: every block adds the latent features, ever less of them."""

    leaves_unused = True  # once λ is 0

    def __init__(self, network: nn.Module, settings: Settings, *losses: Loss | None) -> None:
        super().__init__(network, settings, *losses)
        graph, self.latent = fused(network, self._build, behind_norm=True)
        self._graph = Unregistered(graph)

    def _build(self, sign: RSign, layer: BinaryConv2d | BinaryLinear, norm: _BatchNorm) -> nn.Module:
        return _FusedBlock(sign, layer, norm, self)

    def forward(self, images: Tensor, labels: Tensor, lesson: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """CE of the fused network; of the bare network once λ is 0."""
        logits = self.network(images) if self.faded else self._graph.module(images)
        return self.task(logits, labels, lesson), logits


class SelfCancelling(Objective):
    """L4: binary values, gradients of both paths."""

    def __init__(self, network: nn.Module, settings: Settings, *losses: Loss | None) -> None:
        super().__init__(network, settings, *losses)
        graph, self.latent = fused(network, self._build, behind_norm=False)
        self._graph = Unregistered(graph)

    def _build(self, sign: RSign, layer: BinaryConv2d | BinaryLinear, norm: _BatchNorm) -> nn.Module:
        return SelfCancel(LatentSign(sign, self.settings.phi), layer, self.settings.eta)

    def forward(self, images: Tensor, labels: Tensor, lesson: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """CE of logits that are the bare network's."""
        logits = self._graph.module(images)
        return self.task(logits, labels, lesson), logits


OBJECTIVES: MappingProxyType[str, type[Objective]] = table_of(
    "latent",
    {
        "none": Objective,
        "L1": TwoStreams,
        "L2": FeatureSupervised,
        "L3": BlockFusion,
        "L4": SelfCancelling,
        "L5": LogitEnsemble,
    },
)


def build_objective(
    network: nn.Module, settings: Settings, task_loss: Loss | None = None, distance: Loss | None = None
) -> Objective:
    """Return the training objective of ``settings.latent`` over ``network``.

    task_loss: ``task_loss(outputs, targets)``, a scalar tensor, in the place of cross-entropy; the outputs are what the
        network returns, a tensor, tuple or dict.
    distance: ``distance(outputs, taught)``, a scalar tensor: how far outputs are from those that teach them (β, and
        ``train.teacher``). Without it nothing is distilled where ``task_loss`` is given.

    ConfigError names an option that means nothing for a loss of the user's own.
    """
    return OBJECTIVES[settings.latent](network, settings, task_loss, distance)
