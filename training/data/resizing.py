"""Luminance and bicubic resizing as super-resolution is measured with them: those of MATLAB, in NumPy."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...runtime.errors import ConfigError

__all__ = ["luminance", "resize"]

WEIGHTS = (65.481, 128.553, 24.966)
"""ITU-R BT.601 with values from 16 to 235, as ``rgb2ycbcr`` has them: what published figures are measured on."""


def luminance(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the luminance ``[H, W]`` of RGB ``[H, W, 3]``, rounded; a grey image ``[H, W]`` is its own luminance."""
    if image.ndim == 2:
        return image
    return np.rint(16 + image @ (np.array(WEIGHTS) / 255)).astype(np.uint8)


def resize(image: NDArray[Any], size: tuple[int, int]) -> NDArray[np.float64]:
    """Return an image ``[H, W]`` brought to ``size`` (height, width) by MATLAB's bicubic ``imresize``, not rounded.

    Keys' kernel with a = −1/2, widened where the image shrinks (antialiasing), and the image mirrored at its edges.
    ConfigError where a side shrinks or grows by no whole factor: only then is the result the one of a scale.
    """
    for before, after in zip(image.shape, size, strict=True):
        if not after or max(before, after) % min(before, after):
            raise ConfigError(f"an image of {list(image.shape)} is brought to {list(size)}: use a whole factor")
    rows, columns = (_weights(before, after) for before, after in zip(image.shape, size, strict=True))
    return rows @ image.astype(np.float64) @ columns.T


def _weights(before: int, after: int) -> NDArray[np.float64]:
    """Return the matrix ``[after, before]`` of one axis."""
    scale = after / before
    wide = max(1.0, 1 / scale)
    centres = (np.arange(after) + 0.5) / scale - 0.5
    first = np.floor(centres - 2 * wide).astype(np.int64)
    taps = first[:, None] + np.arange(int(np.ceil(4 * wide)) + 2)
    values = _cubic((centres[:, None] - taps) / wide)
    values /= values.sum(axis=1, keepdims=True)
    inside = taps % (2 * before)
    inside = np.where(inside < before, inside, 2 * before - 1 - inside)  # mirrored, the edge's pixel twice
    matrix = np.zeros((after, before))
    np.add.at(matrix, (np.arange(after)[:, None], inside), values)
    return matrix


def _cubic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    x = np.abs(x)
    near, far = (1.5 * x - 2.5) * x**2 + 1, ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))
