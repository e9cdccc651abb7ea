"""What a network's outputs are taught with: labels of classes by cross-entropy, or a loss of the user's own."""

from collections.abc import Callable
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from ...runtime.errors import ConfigError
from ..settings import Settings
from .supervision import distillation

__all__ = ["Loss", "Task"]

Loss = Callable[[Any, Any], Tensor]
"""``loss(outputs, targets)``, a scalar tensor."""


class Task(nn.Module):
    """The loss of a network's outputs, of targets, and of other outputs that teach them.

    loss: ``loss(outputs, targets)``, a scalar tensor; None is cross-entropy of logits ``[N, classes]`` with labels
        int64 ``[N]``. If it is a module, its parameters are trained with the network's.
    distance: ``distance(outputs, taught)``, a scalar tensor: how far outputs are from those that teach them, which
        carry no gradient. None is T²·KL between the softmaxes of logits, and nothing where ``loss`` is given.
    """

    def __init__(self, settings: Settings, loss: Loss | None = None, distance: Loss | None = None) -> None:
        super().__init__()
        self.settings, self.loss, self.distance = settings, loss, distance
        if loss is None:
            return
        if settings.label_smoothing:
            raise ConfigError("train.label_smoothing changes cross-entropy, not a loss of your own: set it to 0")
        if settings.centre:
            raise ConfigError("train.centre needs labels of classes, not a loss of your own: set it to 0")
        if settings.teacher and distance is None:
            raise ConfigError(
                "train.teacher beside a loss of your own needs distance(outputs, taught): give it to build_objective"
            )

    @property
    def has_distance(self) -> bool:
        """Whether :meth:`teach` answers."""
        return self.loss is None or self.distance is not None

    def forward(self, outputs: Any, targets: Any, lesson: Any = None) -> Tensor:
        """Return the loss; ``lesson``, a teacher's outputs, takes ``train.teacher_weight`` of it."""
        settings = self.settings
        if lesson is None:
            if self.loss is not None:
                return _scalar("task_loss", self.loss(outputs, targets))
            return F.cross_entropy(outputs.float(), targets, label_smoothing=settings.label_smoothing)
        taught = self.teach(outputs, lesson, settings.teacher_temperature)
        if settings.teacher_weight == 1:
            return taught
        own: Tensor = self(outputs, targets)
        return (1 - settings.teacher_weight) * own + settings.teacher_weight * taught

    def teach(self, outputs: Any, taught: Any, temperature: float) -> Tensor:
        """Return how far outputs are from those that teach them; of logits, at a temperature."""
        if self.distance is not None:
            return _scalar("distance", self.distance(outputs, taught))
        return distillation(outputs, taught, temperature)


def _scalar(name: str, value: Any) -> Tensor:
    """Return a loss, or say what the user's function returned in its place."""
    if not isinstance(value, Tensor) or value.numel() != 1:
        found = f"a tensor of shape {list(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        raise ConfigError(f"{name} must return one number, a scalar tensor, and returned {found}")
    return value.reshape(())
