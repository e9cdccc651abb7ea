"""What a line of metrics.jsonl says of an epoch beside its loss: the learning rate, and both streams side by side."""

import torch
from torch import Tensor

from .evaluate import measure
from .run import TrainingRun

__all__ = ["epoch_figures"]

_LOOKED_AT = 512
"""Training images, at most, on which the streams are compared."""
_SHARE = 4
"""And at most one of so many, so that it costs a few hundredths of an epoch."""


def epoch_figures(run: TrainingRun, order: Tensor, step: int) -> dict[str, float]:
    """Return ``learning_rate``, the rate of the last step; of a network with a latent stream the accuracy of each.

    order: the rows of the training data in the order of this epoch; step: the number of steps that were taken.
    ``binary_accuracy`` and ``latent_accuracy`` are shares of the same training images, augmented, both streams in eval
    mode; the running ``accuracy`` of the epoch lags behind them. The test data are not touched.
    """
    figures = {"learning_rate": float(run.optimizer.param_groups[0]["lr"])}
    objective = run.objective
    if not (run.measures.classes and objective.has_latent_stream):
        return figures
    rows = order[: max(1, min(_LOOKED_AT, len(order) // _SHARE))]
    parts = [run.batches.get(each, step) for each in torch.split(rows, run.settings.batch_size)]
    for name, stream in (("binary_accuracy", run.network), ("latent_accuracy", objective.latent_logits)):
        found = measure(objective, stream, parts).accuracy
        if found is not None:
            figures[name] = found
    return figures
