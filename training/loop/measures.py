"""What is learnt and how it is measured: the user's loss and metric, and whether outputs are class scores."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ...runtime.errors import ConfigError, LatentbitError
from ...runtime.imported import explain
from ...runtime.metrics import Metric
from ..data.own import are_class_numbers
from ..settings import Settings
from .evaluate import named_outputs

__all__ = ["Measures", "find_measures"]


@dataclass(frozen=True)
class Measures:
    """``loss(outputs, targets)`` -> scalar, None for cross-entropy; ``metric`` with its name.

    ``classes``: outputs are one tensor of scores ``[N, classes]``, and targets are class numbers ``[N]``.
    """

    classes: bool = True
    loss: Callable[[Any, Any], Tensor] | None = None
    metric: tuple[str, Metric] | None = None


def find_measures(settings: Settings, network: nn.Module, inputs: Tensor, targets: Any) -> Measures:
    """Return how a network is measured, which is tried on a few samples in eval mode.

    Raises :class:`ConfigError` where it does not take them, gives something else than tensors or fewer scores than
    there are classes, has nothing to learn, or needs a loss.
    """
    metric = (settings.metric, settings.import_function("metric")) if settings.metric else None
    loss = _checked(settings.loss, settings.import_function("loss")) if settings.loss else None
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise ConfigError(f"train.model = {settings.model!r} has no parameter to train")
    was_training = network.training
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            answer = network.eval()(inputs)
            outputs = named_outputs(answer)
    except LatentbitError:
        raise
    except Exception as error:
        raise ConfigError(
            f"train.model = {settings.model!r} does not take what train.data gives, {list(inputs.shape)}"
            f" {str(inputs.dtype).removeprefix('torch.')}: {explain(error)}"
        ) from error
    finally:
        network.train(was_training)
    for name, value in outputs.items():
        if not isinstance(value, Tensor) or not value.dim() or len(value) != len(inputs):
            what = f"a tensor {list(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
            raise ConfigError(
                f"train.model = {settings.model!r} gives {what} as {name} for {len(inputs)} samples: each output must"
                " be a tensor whose first axis is the batch"
            )
    scores = answer if isinstance(answer, Tensor) and answer.dim() == 2 and answer.shape[1] > 1 else None
    classes = scores is not None and are_class_numbers(targets)
    if loss is None and not classes:
        raise ConfigError(
            f"train.loss is needed: {settings.model} and {settings.data} are no classification"
            " (one output [N, classes], one class number a sample)"
        )
    if classes and scores is not None and (most := int(targets.max())) >= scores.shape[1]:
        raise ConfigError(
            f"train.model = {settings.model!r} gives {scores.shape[1]} scores, and there is a class {most}"
        )
    return Measures(classes, loss, metric)


def _checked(name: str, function: Callable[..., Any]) -> Callable[[Any, Any], Tensor]:
    """Return a loss that refuses to give anything but a scalar."""

    def loss(outputs: Any, targets: Any) -> Tensor:
        found = function(outputs, targets)
        if not isinstance(found, Tensor) or found.dim():
            what = f"a tensor {list(found.shape)}" if isinstance(found, Tensor) else f"a {type(found).__name__}"
            raise ConfigError(f"train.loss = {name!r} returned {what}: return a scalar tensor")
        return found

    return loss
