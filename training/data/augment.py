"""Augmentation of a batch on the device that trains, each image by its own draw.

The draws come from a CPU generator, so a seed gives the same draws on every device. Register a new augmentation in
:data:`AUGMENTATIONS`; functions take uint8 images ``[N, C, H, W]``, a generator, and the side that the network reads.
"""

import math
from collections.abc import Callable
from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from ...runtime.errors import ConfigError

__all__ = ["AUGMENTATIONS", "Augmentation", "centre_crop", "find_augmentation", "resized_crop", "shift_and_flip"]

Augmentation = Callable[[Tensor, Generator, int], Tensor]
"""``augment(images, generator, side)`` -> uint8 images ``[N, C, side, side]``, or of the input's size."""


def _upload(draws: Tensor, device: torch.device) -> Tensor:
    """Copy draws to the device without waiting for it: a few numbers an image, the work on pixels is done there."""
    return draws.to(device, non_blocking=True)


def centre_crop(images: Tensor, side: int) -> Tensor:
    """Cut the centre ``[N, C, side, side]`` out of images that are larger."""
    top, left = (images.shape[2] - side) // 2, (images.shape[3] - side) // 2
    return images[:, :, top : top + side, left : left + side] if (top or left) else images


def shift_and_flip(images: Tensor, generator: Generator, *, reach: int, flip: bool) -> Tensor:
    """Move each image by up to ``reach`` pixels along both axes (zeros move in) and flip every second one."""
    count, _, height, width = images.shape
    device = images.device
    moves = _upload(torch.randint(-reach, reach + 1, (2, count), generator=generator), device)
    mirrored = _upload(torch.rand(count, generator=generator) < 0.5, device)
    rows = torch.arange(height, device=device) + moves[0, :, None]
    columns = torch.arange(width, device=device).expand(count, width)
    if flip:
        columns = torch.where(mirrored[:, None], width - 1 - columns, columns)
    columns = columns + moves[1, :, None]
    inside = ((rows >= 0) & (rows < height))[:, :, None] & ((columns >= 0) & (columns < width))[:, None, :]
    flat = rows.clamp(0, height - 1)[:, :, None] * width + columns.clamp(0, width - 1)[:, None, :]
    index = flat.view(count, 1, -1).expand(-1, images.shape[1], -1)
    return images.flatten(2).gather(2, index).view_as(images) * inside.unsqueeze(1)


def resized_crop(images: Tensor, generator: Generator, side: int) -> Tensor:
    """Cut a rectangle of 8–100% of each image's area and aspect 3/4–4/3, resize it to ``side``², flip every second.

    Bilinear (Szegedy et al., arXiv 1409.4842, section 6; ranges as in torchvision).
    """
    count = len(images)
    area = torch.empty(count).uniform_(0.08, 1.0, generator=generator)
    aspect = torch.empty(count).uniform_(math.log(3 / 4), math.log(4 / 3), generator=generator).exp()
    wide, high = (area * aspect).sqrt().clamp(max=1.0), (area / aspect).sqrt().clamp(max=1.0)
    places = torch.rand(2, count, generator=generator) * 2 - 1
    mirrored = torch.where(torch.rand(count, generator=generator) < 0.5, -1.0, 1.0)
    theta = torch.zeros(count, 2, 3)
    theta[:, 0, 0], theta[:, 0, 2] = wide * mirrored, places[0] * (1 - wide)
    theta[:, 1, 1], theta[:, 1, 2] = high, places[1] * (1 - high)
    grid = F.affine_grid(_upload(theta, images.device), [count, images.shape[1], side, side], align_corners=False)
    found = F.grid_sample(images.float(), grid, padding_mode="border", align_corners=False)
    return found.round_().clamp_(0, 255).to(torch.uint8)


def _none(images: Tensor, generator: Generator, side: int) -> Tensor:
    return images


def _shift1(images: Tensor, generator: Generator, side: int) -> Tensor:
    return shift_and_flip(images, generator, reach=1, flip=False)


def _crop2_flip(images: Tensor, generator: Generator, side: int) -> Tensor:
    return shift_and_flip(images, generator, reach=2, flip=True)


def _crop4_flip(images: Tensor, generator: Generator, side: int) -> Tensor:
    return shift_and_flip(images, generator, reach=4, flip=True)


AUGMENTATIONS: MappingProxyType[str, Augmentation] = MappingProxyType(
    {
        "crop2_flip": _crop2_flip,
        "crop4_flip": _crop4_flip,
        "none": _none,
        "resized_crop": resized_crop,
        "shift1": _shift1,
    }
)
"""shift1 for digits of 8×8; crop2_flip for 28×28 (Fashion-MNIST); crop4_flip for 32×32 (CIFAR); resized_crop for
folders of images."""


def find_augmentation(name: str) -> Augmentation:
    """Return the augmentation of this name; ConfigError lists the known ones."""
    if name not in AUGMENTATIONS:
        raise ConfigError(f"train.augment = {name!r} is unknown: choose one of {', '.join(AUGMENTATIONS)}")
    return AUGMENTATIONS[name]
