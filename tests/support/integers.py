"""The operators by their definition, in integers and plain loops over the window: the oracle that shares no code.

Slow, and meant to be read beside docs/opset.md. A float result is rounded where the definition rounds, nowhere else.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["accumulate_conv", "accumulate_gemm", "affine", "binarize", "max_pool", "rprelu"]

Array = NDArray[Any]


def binarize(x: Array, threshold: Array) -> Array:
    """float32 +1 where x >= threshold, else −1; threshold ``[C]`` over axis 1."""
    return np.where(x >= _column(threshold, x.ndim), np.float32(1), np.float32(-1))


def accumulate_conv(
    x: Array,
    weight: Array,
    strides: tuple[int, int] = (1, 1),
    pads: tuple[int, int, int, int] = (0, 0, 0, 0),
    dilations: tuple[int, int] = (1, 1),
    group: int = 1,
    pad_value: int = 0,
) -> Array:
    """Sum of products over the window, in the dtype of ``x``: int64 for signs, float64 for real inputs.

    x ``[N, C, H, W]``, weight ``[O, C/group, kh, kw]`` of ±1, pads (top, left, bottom, right).
    """
    top, left, bottom, right = pads
    x = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)), constant_values=pad_value)
    _, _, height, width = x.shape
    outputs, depth, rows, columns = weight.shape
    out_h = (height - dilations[0] * (rows - 1) - 1) // strides[0] + 1
    out_w = (width - dilations[1] * (columns - 1) - 1) // strides[1] + 1
    x = x.reshape(-1, group, depth, height, width)
    weight = weight.reshape(group, outputs // group, depth, rows, columns).astype(x.dtype)
    acc = np.zeros((len(x), group, outputs // group, out_h, out_w), x.dtype)
    for r in range(rows):
        for c in range(columns):
            ys = slice(r * dilations[0], r * dilations[0] + (out_h - 1) * strides[0] + 1, strides[0])
            xs = slice(c * dilations[1], c * dilations[1] + (out_w - 1) * strides[1] + 1, strides[1])
            acc += np.einsum("ngdyx,god->ngoyx", x[..., ys, xs], weight[..., r, c])
    return acc.reshape(-1, outputs, out_h, out_w)


def accumulate_gemm(x: Array, weight: Array) -> Array:
    """x ``[N, K]`` times the transpose of weight ``[O, K]``, in the dtype of ``x``."""
    return np.asarray(x @ weight.astype(x.dtype).T)


def affine(acc: Array, scale: Array, bias: Array) -> Array:
    """fl(fl(acc·scale) + bias) in float32, scale and bias ``[O]`` over axis 1."""
    return acc.astype(np.float32) * _column(scale, acc.ndim) + _column(bias, acc.ndim)


def rprelu(x: Array, shift_in: Array, slope: Array, shift_out: Array) -> Array:
    """prelu(x − shift_in) + shift_out in float32, each ``[C]`` over axis 1."""
    y = x - _column(shift_in, x.ndim)
    return np.where(y >= 0, y, y * _column(slope, x.ndim)) + _column(shift_out, x.ndim)


def max_pool(x: Array, size: int, stride: int, pad: int) -> Array:
    """Largest value of each window, what lies outside ignored."""
    x = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)), constant_values=-np.inf)
    windows = np.lib.stride_tricks.sliding_window_view(x, (size, size), axis=(2, 3))[:, :, ::stride, ::stride]
    return np.asarray(windows.max(axis=(-1, -2)))


def _column(values: Array, rank: int) -> Array:
    return values.reshape(-1, *[1] * (rank - 2))
