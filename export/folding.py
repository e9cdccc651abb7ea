"""Folding arithmetic: batch norm into the layer before it, in float64, rounded to float32 once at the end.

Batch norm of a network that is no longer trained is an affine map per channel (arXiv 1502.03167, section 3.1)::

    BN(y) = s·y + t,    s = γ / sqrt(σ² + ε),    t = β − μ·s

Behind a binary layer, whose output is ``α·acc`` with an integer ``acc`` and α = mean|W| per output channel
(XNOR-Net, arXiv 1603.05279, equation 6), this gives ``scale = s·α`` and ``bias = t``; behind a real layer
``W' = s·W`` and ``b' = s·b + t``. A negative γ is a negative scale, γ = 0 is a constant output; both are exact.

Only numpy is used: :mod:`.frontend.norms` and :mod:`.importing.tail` put the results into a graph.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..runtime.errors import UnsupportedError

__all__ = ["Affine", "Stem", "batch_norm_affine", "fold_binary", "fold_real", "round_stem", "round_to_int8"]

EXACT_LIMIT = 2**24
"""Every integer below this is a float32; a larger sum could be rounded."""


class Affine(NamedTuple):
    """``y -> scale·y + shift`` per channel; both float64 ``[channels]``."""

    scale: NDArray[np.float64]
    shift: NDArray[np.float64]


def batch_norm_affine(
    gamma: NDArray[Any] | None,
    beta: NDArray[Any] | None,
    mean: NDArray[Any],
    variance: NDArray[Any],
    epsilon: float,
    name: str = "batch norm",
) -> Affine:
    """Return batch norm as an affine map; ``gamma`` and ``beta`` are None for a norm without them.

    All arrays ``[channels]``, any float dtype. Raises UnsupportedError, naming ``name``, where ``σ² + ε`` is not
    positive or a value is not finite: such a norm has no affine form.
    """
    mean64 = np.asarray(mean, np.float64)
    spread = np.asarray(variance, np.float64) + epsilon
    if not np.all(spread > 0):
        raise UnsupportedError(f"{name}: the running variance + eps is not positive; train it or reset its statistics")
    scale = (np.ones_like(mean64) if gamma is None else np.asarray(gamma, np.float64)) / np.sqrt(spread)
    shift = (np.zeros_like(mean64) if beta is None else np.asarray(beta, np.float64)) - mean64 * scale
    if not (np.all(np.isfinite(scale)) and np.all(np.isfinite(shift))):
        raise UnsupportedError(f"{name}: holds NaN or infinity; the training run diverged")
    return Affine(scale, shift)


def fold_binary(
    alpha: NDArray[Any], bias: NDArray[Any] | None, norm: Affine | None
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return (scale, bias), float32 ``[O]``, of a binary layer ``α·acc + bias`` followed by ``norm``."""
    scale = np.asarray(alpha, np.float64)
    shift = np.zeros_like(scale) if bias is None else np.asarray(bias, np.float64)
    if norm is not None:
        scale, shift = norm.scale * scale, norm.scale * shift + norm.shift
    return scale.astype(np.float32), shift.astype(np.float32)


def fold_real(
    weight: NDArray[Any], bias: NDArray[Any] | None, norm: Affine
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return (weight, bias) in float32 of a real layer, weight ``[O, ...]``, followed by ``norm``."""
    scale = norm.scale.reshape(-1, *[1] * (weight.ndim - 1))
    shift = np.zeros_like(norm.shift) if bias is None else np.asarray(bias, np.float64)
    folded = np.asarray(weight, np.float64) * scale
    return folded.astype(np.float32), (norm.scale * shift + norm.shift).astype(np.float32)


class Stem(NamedTuple):
    """An exact first convolution, ``fl(fl(Σ weight·(pixel − zero_point)·scale) + bias)``; all float32, whole numbers.

    weight ``[O, C, kh, kw]`` in −127…127, zero_point ``[C, 1, 1]``, scale and bias ``[O]``.
    """

    weight: NDArray[np.float32]
    zero_point: NDArray[np.float32]
    scale: NDArray[np.float32]
    bias: NDArray[np.float32]


def round_stem(
    weight: NDArray[Any], bias: NDArray[Any] | None, pixels: tuple[Any, Any, float], groups: int, name: str
) -> Stem:
    """Round a folded convolution, weight ``[O, C, kh, kw]``, over pixels ``(mean, std, range)`` to the exact form.

    With V = W / (range·std) over input channels, output channel o gets the step q = max|V_o| / 127 and the weights
    round(V_o / q). What rounding the zero point leaves, Σ V·(zero_point − range·mean), joins the bias.
    Raises UnsupportedError where a sum could reach 2^24, or the image has other channels.
    """
    mean, std = (np.asarray(v, np.float64).reshape(-1, 1, 1) for v in pixels[:2])
    limit = float(pixels[2])
    taps = int(np.prod(weight.shape[1:]))
    if taps * 127 * 255 >= EXACT_LIMIT:
        raise UnsupportedError(f"{name}: {taps} weights a channel are too many for an exact sum (at most 517)")
    if groups != 1 or weight.shape[1] != len(mean):
        raise UnsupportedError(f"{name}: an exact stem reads all {len(mean)} image channels in one group")
    zero_point = np.round(mean * limit)
    real = np.asarray(weight, np.float64) / (limit * std)
    largest = np.abs(real).max(axis=(1, 2, 3), keepdims=True)
    step = np.where(largest > 0, largest, 1.0) / 127
    offset = (real * (zero_point - limit * mean)).sum(axis=(1, 2, 3))
    shift = offset + (0.0 if bias is None else np.asarray(bias, np.float64))
    numbers = (np.round(real / step), zero_point, step.reshape(-1), shift)
    return Stem(*(np.ascontiguousarray(n, np.float32) for n in numbers))


def round_to_int8(weight: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Return ``(q, scale)``, ``weight ≈ scale·q``: q int8 as the weight ``[O, ...]``, scale ``[O]`` = max|w| / 127."""
    scale = np.abs(weight).max(axis=tuple(range(1, weight.ndim))) / np.float32(127)
    scale = np.maximum(scale, np.finfo(np.float32).tiny)
    quantised = np.round(weight / scale.reshape(-1, *[1] * (weight.ndim - 1)))
    return np.clip(quantised, -127, 127).astype(np.int8), scale
