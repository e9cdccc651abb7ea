"""What a network's outputs are worth on a set of samples: accuracy of class scores, and a metric of the user's."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from ...runtime.metrics import Metric, figures
from ..data.own import arrays_of

__all__ = ["Measured", "measure", "named_outputs"]


@dataclass(frozen=True)
class Measured:
    """``accuracy`` is the share of right answers, None where outputs are no class scores; ``metrics`` the user's."""

    accuracy: float | None
    metrics: dict[str, float] = field(default_factory=dict)


@torch.no_grad()
def measure(
    module: nn.Module,
    stream: Callable[[Tensor], Any],
    parts: Iterable[tuple[Tensor, Any]],
    *,
    classes: bool = True,
    metric: tuple[str, Metric] | None = None,
) -> Measured:
    """Measure what ``stream`` gives for each part (inputs, targets); ``module`` is in eval mode meanwhile.

    classes: whether outputs are scores ``[n, classes]`` and targets class numbers ``[n]``; only then there is accuracy.
    metric: name and function; it gets the outputs and targets of all parts at once.
    """
    was_training = module.training
    module.eval()
    right, count = 0, 0
    outputs: list[dict[str, Tensor]] = []
    wanted: list[Any] = []
    for inputs, targets in parts:
        found = stream(inputs)
        if classes:
            right += int((found.argmax(1).cpu() == targets.cpu()).sum())
            count += len(targets)
        if metric is not None:
            outputs.append({name: value.cpu() for name, value in named_outputs(found).items()})
            wanted.append(targets)
    module.train(was_training)
    accuracy = right / count if classes else None
    if metric is None:
        return Measured(accuracy)
    answered = {name: arrays_of([part[name] for part in outputs]) for name in outputs[0]}
    return Measured(accuracy, figures(*metric, answered, arrays_of(wanted)))


def named_outputs(outputs: Any, name: str = "logits") -> dict[str, Tensor]:
    """Return the tensors that a network gives by the names that they have in its file.

    ``name`` for one tensor, ``name.0``, ``name.1`` for a tuple, the keys of a dict; with dots where nested.
    """
    named = {}
    for path, value in pytree.tree_flatten_with_path(outputs)[0]:
        parts = [str(getattr(key, "key", getattr(key, "idx", getattr(key, "name", key)))) for key in path]
        keyed = bool(path) and not isinstance(path[0], pytree.SequenceKey)
        named[".".join(parts if keyed else [name, *parts])] = value
    return named
