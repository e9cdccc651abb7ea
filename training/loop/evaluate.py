"""Accuracy of a network over a set of images."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ..data.dataset import Images, Labels

__all__ = ["accuracy"]


@torch.no_grad()
def accuracy(
    module: nn.Module, logits: Callable[[Tensor], Tensor], images: Images, labels: Labels, *, batch_size: int = 500
) -> float:
    """Share of uint8 images ``[N, C, H, W]`` for which the largest of ``logits(part)`` is the label ``[N]``.

    ``module`` is put into eval mode meanwhile and restored. Parts keep their place in memory: a set may be mapped.
    """
    was_training = module.training
    module.eval()
    right = 0
    for start in range(0, len(labels), batch_size):
        found = logits(torch.from_numpy(images[start : start + batch_size])).argmax(1).cpu().numpy()
        right += int((found == labels[start : start + batch_size]).sum())
    module.train(was_training)
    return right / len(labels)
