"""L1, L2 and L5: the latent stream beside the binary one."""

from typing import Any

import torch
from torch import Tensor, nn

from ...runtime.errors import UnsupportedError
from ..settings import Settings
from .objective import BETA, GAMMA, LAMBDA, MU, Objective
from .stages import NO_CLASSIFIER, Stages
from .streams import Stream, answer, latent_stream
from .structures import Part, cloned, detached, mixed
from .supervision import CentreLoss, feature_distance
from .task import Loss

__all__ = ["FeatureSupervised", "LogitEnsemble", "TwoStreams"]


class TwoStreams(Objective):
    """L1: the binary and the latent stream side by side.

    Cheaper forms: the stream reads a share of the batch, runs on every n-th step, or in the first part of the schedule.
    """

    has_latent_stream = True

    def __init__(self, network: nn.Module, settings: Settings, *losses: Loss | None) -> None:
        super().__init__(network, settings, *losses)
        self.stream, self.latent = latent_stream(network, settings.phi)
        self.active = True

    @property
    def leaves_unused(self) -> bool:
        """The latent stream's own batch norms, where it does not run in every step."""
        return self.settings.latent_every > 1 or self.settings.latent_until < 1

    def set_progress(self, progress: float, step: int) -> None:
        """Decide whether the latent stream runs in this step."""
        super().set_progress(progress, step)
        self.active = progress < self.settings.latent_until and step % self.settings.latent_every == 0

    def forward(self, inputs: Any, targets: Any, lesson: Any = None) -> tuple[Tensor, Any]:
        """CE(z_b) + μ·CE(z_w) + β·T²·KL(sg softmax(z_w/T) ‖ softmax(z_b/T))."""
        if not self.active:
            return super().forward(inputs, targets, lesson)
        part = Part(inputs, self.settings.latent_share if self.training else 1.0)
        given = cloned(part.of(inputs, "inputs"))
        binary = self.binary_outputs(inputs)
        latent = self.stream(given)
        loss: Tensor = self.task(binary, targets, lesson)
        return loss + self.extra_loss(part, binary, latent, targets, lesson), binary

    def binary_outputs(self, inputs: Any) -> Any:
        """Return the outputs of the network."""
        return answer(self.network, inputs)

    def extra_loss(self, part: Part, binary: Any, latent: Any, targets: Any, lesson: Any) -> Tensor:
        """Return what the latent outputs add to the loss; they are of a part of the batch."""
        loss: Tensor = self.strength[MU] * self.task(latent, part.of(targets, "targets"), part.of(lesson, "lesson"))
        if not self.task.has_distance:
            return loss
        taught = self.task.teach(part.of(binary, "outputs"), detached(latent), self.settings.temperature)
        return loss + self.strength[BETA] * taught

    def latent_logits(self, inputs: Any) -> Any:
        """Return the outputs of the stream that runs on W itself."""
        return self.stream(inputs)


class FeatureSupervised(TwoStreams):
    """L2: L1 with supervision of the features, seen in copies of the network that both streams run in."""

    def __init__(self, network: nn.Module, settings: Settings, *losses: Loss | None) -> None:
        super().__init__(network, settings, *losses)
        self.centres: CentreLoss | None = None
        classifier = None
        if settings.centre:
            classifier = next((m for m in reversed(list(network.modules())) if isinstance(m, nn.Linear)), None)
            if classifier is None:
                raise UnsupportedError(NO_CLASSIFIER)
            self.centres = CentreLoss(classifier.out_features, classifier.in_features)
        self.own, self.other = Stages(classifier), Stages(None)
        self.watched = Stream(network, self.own.rule)
        self.stream, self.latent = latent_stream(network, settings.phi, self.other.rule)

    def forward(self, inputs: Any, targets: Any, lesson: Any = None) -> tuple[Tensor, Any]:
        """Return L1's loss + γ·Σ_stages ‖f_b/‖f_b‖ − sg(f_w/‖f_w‖)‖² + centre loss."""
        self.own.begin()
        self.other.begin()
        loss, outputs = super().forward(inputs, targets, lesson)
        if not self.active:
            return loss, outputs
        own, other = self.own.found(), self.other.found()
        if [feature.shape[1:] for feature in own] != [feature.shape[1:] for feature in other]:
            raise UnsupportedError("the streams of this network take different ways through it: use L1 in place of L2")
        distances = [feature_distance(a[: len(b)], b) for a, b in zip(own, other, strict=True)]
        loss = loss + self.strength[GAMMA] * torch.stack(distances).sum()
        if self.centres is not None:
            loss = loss + self.settings.centre * self.centres(self.own.pooled(outputs), targets)
        return loss, outputs

    def binary_outputs(self, inputs: Any) -> Any:
        """Return the outputs of the network, run in a copy that notes its features."""
        return self.watched(inputs)


class LogitEnsemble(TwoStreams):
    """L5: the loss of a mixture of both streams' outputs, fading to the binary stream alone."""

    leaves_unused = True  # once λ is 0

    def forward(self, inputs: Any, targets: Any, lesson: Any = None) -> tuple[Tensor, Any]:
        """CE((1 − λ)·z_b + λ·z_w) + CE(z_b)."""
        if self.active and not self.faded:
            return super().forward(inputs, targets, lesson)
        loss, outputs = Objective.forward(self, inputs, targets, lesson)
        return 2 * loss, outputs

    def extra_loss(self, part: Part, binary: Any, latent: Any, targets: Any, lesson: Any) -> Tensor:
        """CE((1 − λ)·z_b + λ·z_w)."""
        mixture = mixed(part.of(binary, "outputs"), latent, self.strength[LAMBDA])
        loss: Tensor = self.task(mixture, part.of(targets, "targets"), part.of(lesson, "lesson"))
        return loss
