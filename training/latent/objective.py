"""The training objective of a network without a latent branch, and what those with one have in common."""

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn

from ...runtime.errors import ConfigError, DataError, UnsupportedError
from ..layers.binary import set_progress
from ..settings import Settings
from .streams import answer
from .structures import detached
from .styles import draw_shares, mix_styles
from .task import Loss, Task

__all__ = ["BETA", "GAMMA", "LAMBDA", "MU", "Objective", "fading"]

MU, BETA, GAMMA, LAMBDA = range(4)
"""Places in :attr:`Objective.strength`."""


def fading(progress: float, until: float) -> float:
    """λ: 1 at the start, 0 from ``until`` on, half a cosine between."""
    return 0.5 * (1 + math.cos(math.pi * progress / until)) if progress < until else 0.0


class Objective(nn.Module):
    """The loss of a network without a branch. Subclasses add a latent branch.

    ``forward(inputs, targets)`` returns the loss (a scalar) and the binary stream's outputs. ``inputs`` is the
    network's input, or the tuple of its inputs; what targets and outputs are, the loss decides (:class:`.task.Task`).
    """

    has_latent_stream = False
    """Whether :meth:`latent_logits` answers."""
    shares: Tensor
    """Float32 ``[batch_size]``: what each image of the batch keeps of its style (``consistency``)."""
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
        self.register_buffer("shares", torch.ones(settings.batch_size), persistent=False)
        self.faded = False
        if settings.consistency and not self.task.has_distance:
            raise ConfigError("train.consistency beside a loss of your own needs distance(outputs, taught)")
        self.register_load_state_dict_pre_hook(_of_this_branch)  # type: ignore[no-untyped-call]

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
            value * (min(1.0, max(0.0, progress - settings.latent_from) / ramp) if ramp else 1.0)
            for value, ramp in (
                (settings.mu, settings.mu_ramp),
                (settings.beta, settings.beta_ramp),
                (settings.gamma, settings.gamma_ramp),
            )
        ]
        # Filled one by one: a tensor made here and copied to a GPU would make the host wait for it at every step.
        for place, value in enumerate((*ramped, fade)):
            self.strength[place].fill_(value)
        if settings.consistency:
            self.shares.copy_(draw_shares(settings.batch_size, settings.seed, step))

    def __deepcopy__(self, memo: dict[int, Any]) -> "Objective":
        """Return a branch built anew over a copy of the network: what a stream holds refers to its own objective."""
        network, loss, distance = copy.deepcopy((self.network, self.task.loss, self.task.distance), memo)
        other = memo[id(self)] = type(self)(network, self.settings, loss, distance).to(self.strength.device)
        other.load_state_dict(self.state_dict())
        other.strength.copy_(self.strength)
        vars(other).update({name: value for name, value in vars(self).items() if isinstance(value, bool)})
        return other

    def forward(self, inputs: Any, targets: Any, lesson: Any = None) -> tuple[Tensor, Any]:
        """Return the loss and the network's outputs; ``lesson`` holds a teacher's outputs if there is one."""
        outputs = answer(self.network, inputs)
        loss = self.task(outputs, targets, lesson)
        if self.settings.consistency and self.training:
            if not isinstance(inputs, Tensor) or inputs.dim() != 4:
                raise ConfigError(
                    "train.consistency changes the styles of images [N, C, H, W]: set it to 0 for other inputs"
                )
            other = self.network(mix_styles(inputs, self.shares[: len(inputs)]))
            loss = loss + self.settings.consistency * self.task.teach(other, detached(outputs), 1.0)
        return loss, outputs

    def latent_logits(self, images: Tensor) -> Tensor:
        """Return the logits of the latent stream, if there is one."""
        raise UnsupportedError(f"training with latent={self.settings.latent!r} has no latent stream to evaluate")


def _of_this_branch(objective: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Refuse a state whose branch has other norms: another network's, or one of when the stem's norms had no twins."""
    given = {name for name in state if name.startswith(f"{prefix}latent.")}
    wanted = {f"{prefix}{name}" for name in objective.state_dict() if name.startswith("latent.")}
    if given != wanted:
        name = min(given ^ wanted)
        raise DataError(
            f"the latent branch of the state has other norms ({name} is in one of both alone): it was written by an"
            " earlier version or for another network; train again"
        )
