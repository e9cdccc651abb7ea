"""Shifts of test images: corruptions of the kinds and strengths of CIFAR-10-C, generated.

Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations"
(arXiv 1903.12261), with the strengths of the authors' program for images of 32×32 pixels. Of its nineteen kinds those
nine are here that need no other images and no library beside Pillow: four noises, one blur, brightness, contrast,
pixels and JPEG. Register a new one in :data:`CORRUPTIONS`; functions take float64 images ``[N, C, H, W]`` in [0, 1], a
severity from 0 to 4 and a generator, and return the like, which is clipped and rounded afterwards.
"""

import io
from collections.abc import Callable
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...runtime.errors import ConfigError

__all__ = ["CORRUPTIONS", "SEVERITIES", "corrupt"]

Images = NDArray[np.float64]
Corruption = Callable[[Images, int, np.random.Generator], Images]

SEVERITIES = 5


def gaussian_noise(x: Images, severity: int, rng: np.random.Generator) -> Images:
    """Add normal noise."""
    return x + rng.normal(scale=(0.04, 0.06, 0.08, 0.09, 0.10)[severity], size=x.shape)


def shot_noise(x: Images, severity: int, rng: np.random.Generator) -> Images:
    """Count photons: Poisson noise."""
    photons = (500, 250, 100, 75, 50)[severity]
    return rng.poisson(x * photons) / photons


def impulse_noise(x: Images, severity: int, rng: np.random.Generator) -> Images:
    """Make a share of all values 0 or 1."""
    share = (0.01, 0.02, 0.03, 0.05, 0.07)[severity]
    return np.where(rng.random(x.shape) < share, rng.integers(0, 2, x.shape), x)


def speckle_noise(x: Images, severity: int, rng: np.random.Generator) -> Images:
    """Add normal noise in proportion to the value."""
    return x + x * rng.normal(scale=(0.06, 0.1, 0.12, 0.16, 0.2)[severity], size=x.shape)


def gaussian_blur(x: Images, severity: int, rng: np.random.Generator) -> Images:
    """Blur along both axes; beyond the border stand its nearest pixels."""
    sigma = (0.4, 0.6, 0.7, 0.8, 1.0)[severity]
    reach = int(4 * sigma + 0.5)
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    for axis in (2, 3):
        widths = [(reach, reach) if each == axis else (0, 0) for each in range(4)]
        windows = np.lib.stride_tricks.sliding_window_view(np.pad(x, widths, mode="edge"), 2 * reach + 1, axis=axis)
        x = windows @ (weights / weights.sum())
    return x


def brightness(x: Images, severity: int, rng: np.random.Generator) -> Images:
    """Raise the value of HSV: the largest channel gains the strength, the others stay in proportion."""
    value = x.max(axis=1, keepdims=True)
    brighter = np.minimum(value + (0.05, 0.1, 0.15, 0.2, 0.3)[severity], 1)
    found: Images = np.where(value > 0, x * brighter / np.maximum(value, 1e-12), brighter)
    return found


def contrast(x: Images, severity: int, rng: np.random.Generator) -> Images:
    """Draw every channel of an image together around its mean."""
    mean = x.mean(axis=(2, 3), keepdims=True)
    found: Images = (x - mean) * (0.75, 0.5, 0.4, 0.3, 0.15)[severity] + mean
    return found


def pixelate(x: Images, severity: int, rng: np.random.Generator) -> Images:
    """Shrink and enlarge again, by areas."""
    share = (0.95, 0.9, 0.85, 0.75, 0.65)[severity]

    def squeeze(image: Any) -> Any:
        from PIL import Image

        small = (max(1, int(image.width * share)), max(1, int(image.height * share)))
        return image.resize(small, Image.Resampling.BOX).resize(image.size, Image.Resampling.BOX)

    return _by_pictures(x, squeeze)


def jpeg(x: Images, severity: int, rng: np.random.Generator) -> Images:
    """Store as JPEG and read again."""
    quality = (80, 65, 58, 50, 40)[severity]

    def store(image: Any) -> Any:
        from PIL import Image

        stream = io.BytesIO()
        image.save(stream, "JPEG", quality=quality)
        return Image.open(stream)

    return _by_pictures(x, store)


CORRUPTIONS: MappingProxyType[str, Corruption] = MappingProxyType(
    {
        "gaussian_noise": gaussian_noise,
        "shot_noise": shot_noise,
        "impulse_noise": impulse_noise,
        "speckle_noise": speckle_noise,
        "gaussian_blur": gaussian_blur,
        "brightness": brightness,
        "contrast": contrast,
        "pixelate": pixelate,
        "jpeg": jpeg,
    }
)


def corrupt(
    images: NDArray[np.uint8], kind: str, severity: int, *, seed: int = 0, white: int = 255
) -> NDArray[np.uint8]:
    """Return uint8 images ``[N, C, H, W]`` (one channel or three) with a corruption of severity 1 to 5.

    ``white`` is the largest value that an image can have. The same seed gives the same images.
    ConfigError for an unknown kind or severity.
    """
    if kind not in CORRUPTIONS or not 1 <= severity <= SEVERITIES:
        raise ConfigError(
            f"corruption {kind!r} of severity {severity} is unknown: choose one of {', '.join(CORRUPTIONS)}, severity"
            f" 1 to {SEVERITIES}"
        )
    found = CORRUPTIONS[kind](images / white, severity - 1, np.random.default_rng(seed))
    return (white * found).clip(0, white).round().astype(np.uint8)


def _by_pictures(x: Images, change: Callable[[Any], Any]) -> Images:
    """Return what a function of Pillow images makes of each."""
    from PIL import Image

    found = np.empty_like(x)
    for number, image in enumerate((255 * x).round().astype(np.uint8).transpose(0, 2, 3, 1)):
        changed = np.asarray(change(Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)))
        found[number] = changed.reshape(image.shape).transpose(2, 0, 1) / 255
    return found
