"""L1, L2, L5 and L6: the latent stream beside the binary one."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ...runtime.errors import ConfigError, UnsupportedError
from ..layers.levels import to_levels
from ..settings import Settings
from .objective import BETA, GAMMA, LAMBDA, MU, Objective
from .stages import NO_CLASSIFIER, Stages
from .streams import PHI, Stream, answer, latent_stream
from .structures import Part, cloned, detached, mixed
from .supervision import CentreLoss, feature_distance
from .task import Loss

__all__ = ["FeatureSupervised", "LogitEnsemble", "Recursive", "TwoStreams"]


class TwoStreams(Objective):
    """L1: the binary and the latent stream side by side.

    Cheaper forms: the stream reads a share of the batch, runs on every n-th step, or in a part of the schedule.
    """

    has_latent_stream = True

    def __init__(self, network: nn.Module, settings: Settings, *losses: Loss | None) -> None:
        super().__init__(network, settings, *losses)
        if not settings.label_weight and not (settings.beta and self.task.has_distance):
            raise ConfigError(
                "nothing would teach the binary network: train.label_weight is 0, and "
                + ("train.beta is 0 too" if self.task.has_distance else "a loss of your own has no distance beside it")
            )
        self.stream, self.latent = latent_stream(network, PHI[settings.phi])
        self.active = True

    @property
    def leaves_unused(self) -> bool:
        """The latent stream's own batch norms, where it does not run in every step."""
        settings = self.settings
        return settings.latent_every > 1 or settings.latent_from > 0 or settings.latent_until < 1

    def set_progress(self, progress: float, step: int) -> None:
        """Decide whether the latent stream runs in this step."""
        super().set_progress(progress, step)
        settings = self.settings
        self.active = settings.latent_from <= progress < settings.latent_until and step % settings.latent_every == 0

    def forward(self, inputs: Any, targets: Any, lesson: Any = None) -> tuple[Tensor, Any]:
        """κ·CE(z_b) + μ·CE(z_w) + β·T²·KL(sg softmax(z_w/T) ‖ softmax(z_b/T))."""
        if not self.active:
            return super().forward(inputs, targets, lesson)
        part = Part(inputs, self.settings.latent_share if self.training else 1.0)
        given = cloned(part.of(inputs, "inputs"))  # before the network runs, which may change its inputs in place
        binary = self.binary_outputs(inputs)
        loss: Tensor = self.settings.label_weight * self.task(binary, targets, lesson)
        return loss + self.extra_loss(part, binary, self.finer_outputs(given), targets, lesson), binary

    def binary_outputs(self, inputs: Any) -> Any:
        """Return the outputs of the network."""
        return answer(self.network, inputs)

    def finer_outputs(self, inputs: Any) -> list[Any]:
        """Return the outputs of the streams that are finer than the binary one, the finest (W itself) first."""
        return [self.stream(inputs)]

    def extra_loss(self, part: Part, binary: Any, finer: Sequence[Any], targets: Any, lesson: Any) -> Tensor:
        """Return what the finer outputs add to the loss; they are of a part of the batch."""
        loss: Tensor = self.strength[MU] * self.task(finer[0], part.of(targets, "targets"), part.of(lesson, "lesson"))
        if not self.task.has_distance:
            return loss
        for teacher, outputs in zip(finer, [*finer[1:], part.of(binary, "outputs")], strict=True):
            taught = self.task.teach(outputs, detached(teacher), self.settings.temperature)
            loss = loss + self.strength[BETA] * taught
        return loss

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
        self.stream, self.latent = latent_stream(network, PHI[settings.phi], self.other.rule)

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

    def extra_loss(self, part: Part, binary: Any, finer: Sequence[Any], targets: Any, lesson: Any) -> Tensor:
        """CE((1 − λ)·z_b + λ·z_w)."""
        mixture = mixed(part.of(binary, "outputs"), finer[0], self.strength[LAMBDA])
        loss: Tensor = self.task(mixture, part.of(targets, "targets"), part.of(lesson, "lesson"))
        return loss


class Recursive(TwoStreams):
    """L6: a stream of two bits in between; each stream is taught by the next finer one (Any-Precision, 1911.07346)."""

    def __init__(self, network: nn.Module, settings: Settings, *losses: Loss | None) -> None:
        super().__init__(network, settings, *losses)
        if not self.task.has_distance:
            raise ConfigError(
                "L6 teaches each stream by the outputs of the next: a loss of your own needs distance(outputs, taught)"
                " beside it; give it to build_objective, or use L1"
            )
        self.between, self.two_bits = latent_stream(network, partial(to_levels, bits=2), weight_bits=2)

    def finer_outputs(self, inputs: Any) -> list[Any]:
        """Return the outputs of the stream over W and of that over two bits."""
        again = cloned(inputs)
        return [self.stream(inputs), self.between(again)]
