"""Accuracy of a network over a set of images."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

__all__ = ["accuracy"]


@torch.no_grad()
def accuracy(
    module: nn.Module, logits: Callable[[Tensor], Tensor], images: Tensor, labels: Tensor, *, batch_size: int = 500
) -> float:
    """Share of images ``[N, …]`` whose largest of ``logits(images)`` is the label ``[N]``.

    ``module`` is put into eval mode meanwhile and restored.
    """
    was_training = module.training
    module.eval()
    right = torch.zeros((), dtype=torch.int64, device=labels.device)
    for part, truth in zip(torch.split(images, batch_size), torch.split(labels, batch_size), strict=True):
        right += (logits(part).argmax(1) == truth).sum()
    module.train(was_training)
    return int(right) / len(labels)
