"""Augmentation of a batch on the device that trains, each image by its own draw.

The draws come from a CPU generator, so a seed gives the same draws on every device. Register a new augmentation in
:data:`AUGMENTATIONS`; functions take uint8 images ``[N, C, H, W]``, a generator, and the height and width that the
network reads. Transforms of the user's come in by :mod:`.transforms`.
"""

import math
from collections.abc import Callable, Sequence
from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from ...runtime.errors import ConfigError
from ...runtime.imported import is_named
from .transforms import Transform, import_transform

__all__ = ["AUGMENTATIONS", "Augmentation", "centre_crop", "find_augmentation", "resized_crop", "shift_and_flip"]

Augmentation = Callable[[Tensor, Generator, Sequence[int]], Tensor]
"""``augment(images, generator, size)`` -> images ``[N, C, height, width]`` of that size, of the input's or of one
between; uint8, or float32 of the same range."""


def _upload(draws: Tensor, device: torch.device) -> Tensor:
    """Copy draws to the device without waiting for it: a few numbers an image, the work on pixels is done there."""
    return draws.to(device, non_blocking=True)


def centre_crop(images: Tensor, size: Sequence[int]) -> Tensor:
    """Cut the centre ``[N, C, height, width]``, ``size`` = (height, width), out of images that are larger."""
    height, width = size
    top, left = (images.shape[2] - height) // 2, (images.shape[3] - width) // 2
    return images[:, :, top : top + height, left : left + width]


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


def resized_crop(images: Tensor, generator: Generator, size: Sequence[int]) -> Tensor:
    """Cut a rectangle of 8–100% of each image's area and aspect 3/4–4/3, resize it to ``size``, flip every second.

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
    grid = F.affine_grid(_upload(theta, images.device), [count, images.shape[1], *size], align_corners=False)
    found = F.grid_sample(images.float(), grid, padding_mode="border", align_corners=False)
    return found.round_().clamp_(0, 255).to(torch.uint8)


def _none(images: Tensor, generator: Generator, size: Sequence[int]) -> Tensor:
    return images


def _shift1(images: Tensor, generator: Generator, size: Sequence[int]) -> Tensor:
    return shift_and_flip(images, generator, reach=1, flip=False)


def _crop2_flip(images: Tensor, generator: Generator, size: Sequence[int]) -> Tensor:
    return shift_and_flip(images, generator, reach=2, flip=True)


def _crop4_flip(images: Tensor, generator: Generator, size: Sequence[int]) -> Tensor:
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


def find_augmentation(name: str, *, code: str = "", pixel_range: float = 255.0) -> Augmentation:
    """Return the augmentation of this name, or the transform ``package.module:name`` of the user's.

    name: what ``train.augment`` says
    code: where modules of the user's are looked up; empty: the current folder
    pixel_range: what stands for white in the images

    ConfigError lists the known ones, or says why that of the user's cannot be imported.
    """
    if name in AUGMENTATIONS:
        return AUGMENTATIONS[name]
    if not is_named(name):
        known = ", ".join(AUGMENTATIONS)
        raise ConfigError(f"train.augment = {name!r} is unknown: choose one of {known}, or package.module:name")
    return Transform(name, import_transform(name, code), pixel_range)
