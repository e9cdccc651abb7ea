"""How near images are to other images, as super-resolution is measured: PSNR and SSIM.

``x2`` and ``x4`` are metrics for ``train.metric``: of luminance with values from 0 to 1, ``scale`` pixels of the border
left out. Both figures are means over the images.
"""

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import ConfigError

__all__ = ["psnr", "restoration", "ssim", "x2", "x4"]

WINDOW, SIGMA = 11, 1.5
"""Side and width of SSIM's Gaussian window."""


def psnr(found: NDArray[Any], wanted: NDArray[Any], *, peak: float = 255.0) -> float:
    """Return the peak signal-to-noise ratio of an image in dB: 10·log10(peak² / mean squared difference).

    Both arrays have one shape (:class:`ConfigError`). Equal images give infinity.
    """
    error = float(np.mean((_real(found, wanted) - _real(wanted, found)) ** 2))
    return float(10 * np.log10(peak**2 / error)) if error else float("inf")


def ssim(found: NDArray[Any], wanted: NDArray[Any], *, peak: float = 255.0) -> float:
    """Return the structural similarity of two images ``[H, W]`` (Wang et al., IEEE TIP 2004, section III-B and C).

    Gaussian window of 11×11 and σ = 1.5, K1 = 0.01, K2 = 0.03; the mean over all places where the window lies within
    the image, as the authors' program computes it. :class:`ConfigError` for other shapes or smaller images.
    """
    x, y = _real(found, wanted), _real(wanted, found)
    if x.ndim != 2 or min(x.shape) < WINDOW:
        raise ConfigError(f"ssim takes images [H, W] of at least {WINDOW}×{WINDOW} pixels, not {list(x.shape)}")
    c1, c2 = (0.01 * peak) ** 2, (0.03 * peak) ** 2
    mean_x, mean_y = _blur(x), _blur(y)
    var_x, var_y = _blur(x * x) - mean_x**2, _blur(y * y) - mean_y**2
    both = _blur(x * y) - mean_x * mean_y
    above = (2 * mean_x * mean_y + c1) * (2 * both + c2)
    return float(np.mean(above / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))))


def restoration(outputs: NDArray[Any], targets: NDArray[Any], *, scale: int) -> dict[str, float]:
    """Return mean ``psnr`` and ``ssim`` of images ``[S, 1, H, W]`` with values from 0 to 1.

    Outputs are rounded to whole numbers from 0 to 255 first, as in an image file, and ``scale`` pixels of the border
    are left out.
    """
    cut = (slice(None), 0, slice(scale, -scale or None), slice(scale, -scale or None))
    found = np.rint(np.clip(255.0 * outputs[cut].astype(np.float64), 0, 255))
    wanted = np.rint(255.0 * targets[cut].astype(np.float64))
    pairs = list(zip(found, wanted, strict=True))
    return {
        "psnr": float(np.mean([psnr(*pair) for pair in pairs])),
        "ssim": float(np.mean([ssim(*pair) for pair in pairs])),
    }


def _real(values: NDArray[Any], beside: NDArray[Any]) -> NDArray[np.float64]:
    if np.shape(values) != np.shape(beside):
        raise ConfigError(f"images of {list(np.shape(values))} and of {list(np.shape(beside))} cannot be compared")
    return np.asarray(values, np.float64)


def _blur(image: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the means under the window, ``[H − 10, W − 10]``."""
    steps = np.arange(WINDOW) - WINDOW // 2
    weights = np.exp(-(steps**2) / (2 * SIGMA**2))
    weights /= weights.sum()
    height, width = (length - WINDOW + 1 for length in image.shape)
    rows = sum(weight * image[at : at + height] for at, weight in enumerate(weights))
    return np.asarray(sum(weight * rows[:, at : at + width] for at, weight in enumerate(weights)))


x2 = partial(restoration, scale=2)
"""The metric of a network that doubles height and width."""

x4 = partial(restoration, scale=4)
"""The metric of a network that makes height and width four times as large."""
