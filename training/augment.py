"""Augmentation of a batch on the device that trains, each image by its own draw.

The draws come from a CPU generator (so a seed gives the same draws on every device) and the pixels are gathered in one
indexing operation. Register a new augmentation in :data:`AUGMENTATIONS`; functions take and return uint8 images
``[N, C, H, W]``.
"""

from collections.abc import Callable
from types import MappingProxyType

import torch
from torch import Generator, Tensor

from ..runtime.errors import ConfigError

__all__ = ["AUGMENTATIONS", "Augmentation", "find_augmentation", "shift_and_flip"]

Augmentation = Callable[[Tensor, Generator], Tensor]
"""``augment(images, generator)`` -> images of the same shape and dtype."""


def shift_and_flip(images: Tensor, generator: Generator, *, reach: int, flip: bool) -> Tensor:
    """Move each image by up to ``reach`` pixels along both axes (zeros move in) and flip every second one."""
    count, _, height, width = images.shape
    moves = torch.randint(-reach, reach + 1, (2, count), generator=generator)
    mirrored = torch.rand(count, generator=generator) < 0.5
    rows = torch.arange(height) + moves[0, :, None]
    columns = torch.arange(width).expand(count, width)
    if flip:
        columns = torch.where(mirrored[:, None], width - 1 - columns, columns)
    columns = columns + moves[1, :, None]
    inside = ((rows >= 0) & (rows < height))[:, :, None] & ((columns >= 0) & (columns < width))[:, None, :]
    flat = rows.clamp(0, height - 1)[:, :, None] * width + columns.clamp(0, width - 1)[:, None, :]
    device = images.device
    index = flat.to(device, non_blocking=True).view(count, 1, -1).expand(-1, images.shape[1], -1)
    moved = images.flatten(2).gather(2, index).view_as(images)
    return moved * inside.to(device, non_blocking=True).unsqueeze(1)


def _none(images: Tensor, generator: Generator) -> Tensor:
    return images


def _shift1(images: Tensor, generator: Generator) -> Tensor:
    return shift_and_flip(images, generator, reach=1, flip=False)


def _crop2_flip(images: Tensor, generator: Generator) -> Tensor:
    return shift_and_flip(images, generator, reach=2, flip=True)


def _crop4_flip(images: Tensor, generator: Generator) -> Tensor:
    return shift_and_flip(images, generator, reach=4, flip=True)


AUGMENTATIONS: MappingProxyType[str, Augmentation] = MappingProxyType(
    {"crop2_flip": _crop2_flip, "crop4_flip": _crop4_flip, "none": _none, "shift1": _shift1}
)
"""By name: none; shift1 for digits of 8×8; crop2_flip for 28×28 (Fashion-MNIST); crop4_flip for 32×32 (CIFAR)."""


def find_augmentation(name: str) -> Augmentation:
    """Return the augmentation of this name; ConfigError lists the known ones."""
    if name not in AUGMENTATIONS:
        raise ConfigError(f"train.augment = {name!r} is unknown: choose one of {', '.join(AUGMENTATIONS)}")
    return AUGMENTATIONS[name]
