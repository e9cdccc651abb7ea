"""Augmentation by a transform of the user's: one of torchvision v2, or any callable on an image."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Generator, Tensor

from ...runtime.errors import ConfigError, LatentbitError
from ...runtime.imported import explain, import_function
from .draws import seeded

__all__ = ["Transform", "import_transform"]

BEYOND = 0.5
"""How far values may lie outside of 0 to 1. Bicubic resizing overshoots by less; a normalisation goes further."""


def import_transform(name: str, code: str) -> Callable[[Any], Any]:
    """Import what ``train.augment`` names from the folder ``code`` (empty: the current one): a transform or its class.

    A class is called without arguments. Raises :class:`ConfigError` where it needs some, and for a name that is none.
    """
    found = import_function("train.augment", name, code)
    if not isinstance(found, type):
        return found
    try:
        made = found()
    except Exception as error:
        raise ConfigError(
            f"train.augment = {name!r} is a class that cannot be made without arguments ({explain(error)}): name a"
            f" transform, in a file of yours my_transform = {found.__name__}(…)"
        ) from error
    if not callable(made):
        raise ConfigError(f"train.augment = {name!r} makes a {type(made).__name__}: name a transform")
    function: Callable[[Any], Any] = made
    return function


class Transform:
    """The augmentation ``train.augment`` = ``name``: ``function`` is called with one image after the other.

    It gets float32 ``[C, H, W]`` from 0 to 1, on the device that trains, and returns such an image, at least as large
    as the network reads and of the same size each time. What it draws from torch, NumPy's global state or ``random``
    follows from the generator's seed.
    """

    def __init__(self, name: str, function: Callable[[Any], Any], pixel_range: float) -> None:
        self.name, self.function, self.pixel_range = name, function, pixel_range

    def __call__(self, images: Tensor, generator: Generator, size: Sequence[int]) -> Tensor:
        """Return float32 pixels ``[N, C, H, W]``, 0 to ``pixel_range``, of uint8 images of that range.

        Raises :class:`ConfigError` where the transform fails or gives anything but such images.
        """
        pixels = images.float() / self.pixel_range
        with torch.no_grad(), seeded(generator.initial_seed(), images.device):
            try:
                made = [self.function(image) for image in pixels]
            except LatentbitError:
                raise
            except Exception as error:
                raise self._error(f"failed: {explain(error)}") from error
        for image in made:
            self._check(image, images.shape[1], size)
        if len(shapes := {tuple(image.shape) for image in made}) > 1:
            raise self._error(f"gives images of several sizes, {_sides(min(shapes))} and {_sides(max(shapes))}")
        found = torch.stack([image.as_subclass(Tensor) for image in made]).float()
        low, high = (bound.item() for bound in found.aminmax())
        if not -BEYOND <= low <= high <= 1 + BEYOND:  # a NaN too
            raise ConfigError(
                f"train.augment = {self.name!r} gives values from {low:.3g} to {high:.3g}, and pixels lie between 0 and"
                " 1: leave out what normalises them, for that comes afterwards"
            )
        return found.clamp(0, 1) * self.pixel_range

    def _check(self, image: Any, channels: int, size: Sequence[int]) -> None:
        """Raise ConfigError for what is no image ``[channels, ≥ size[0], ≥ size[1]]`` of floats."""
        if not isinstance(image, Tensor):
            raise self._error(f"gives a {type(image).__name__} for a tensor [C, H, W]: it must give a tensor too")
        kind = str(image.dtype).removeprefix("torch.")
        if not image.is_floating_point():
            raise self._error(f"gives {kind}: end with v2.ToDtype(torch.float32, scale=True)")
        if image.dim() != 3 or image.shape[0] != channels:
            raise self._error(f"gives {list(image.shape)}: an image has three axes, [{channels}, height, width]")
        if any(found < wanted for found, wanted in zip(image.shape[1:], size, strict=True)):
            raise self._error(f"gives images of {_sides(image.shape)}, and the network reads {_sides((0, *size))}")

    def _error(self, what: str) -> ConfigError:
        return ConfigError(f"train.augment = {self.name!r} {what}")


def _sides(shape: Sequence[int]) -> str:
    return f"{shape[1]}×{shape[2]}"
