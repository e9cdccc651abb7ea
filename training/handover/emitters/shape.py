"""Emitters of pools, resizing and changes of shape, shared by modules and functions."""

from typing import Any

import numpy as np
import onnx_ir as ir
from torch import fx

from ....export.builder import Shape
from ....runtime.errors import UnsupportedError
from ...layers.arguments import pair
from ..emission import Emission, elementwise

__all__ = ["adaptive_pool", "average_pool", "flatten", "global_mean", "max_pool", "pixel_shuffle", "reshape", "resize"]


def _window(kernel_size: Any, stride: Any, padding: Any) -> dict[str, list[int]]:
    kernel, pad = pair(kernel_size), pair(padding)
    return {
        "kernel_shape": list(kernel),
        "strides": list(pair(stride) if stride is not None and stride != [] else kernel),
        "pads": [*pad, *pad],
    }


def max_pool(
    e: Emission, x: fx.Node, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil: bool
) -> ir.Value:
    """MaxPool."""
    window = _window(kernel_size, stride, padding)
    return elementwise(e, "MaxPool", x, **window, dilations=list(pair(dilation)), ceil_mode=int(ceil))


def average_pool(
    e: Emission, x: fx.Node, kernel_size: Any, stride: Any, padding: Any, ceil: bool, count_include_pad: bool
) -> ir.Value:
    """AveragePool."""
    window = _window(kernel_size, stride, padding)
    return elementwise(e, "AveragePool", x, **window, ceil_mode=int(ceil), count_include_pad=int(count_include_pad))


def global_mean(
    e: Emission, x: fx.Node, axes: list[int], keepdims: bool, suffix: str = "", shape: Shape | None = None
) -> ir.Value:
    """ReduceMean over ``axes``; GlobalAveragePool where these are the two image axes."""
    rank = e.rank(x)
    axes = sorted(axis % rank for axis in axes)
    if rank == 4 and axes == [2, 3] and keepdims:
        return e("GlobalAveragePool", [e.value(x)], suffix, shape=shape)
    constant = e.constant("axes", np.array(axes, np.int64))
    return e("ReduceMean", [e.value(x), constant], suffix, shape=shape, keepdims=int(keepdims))


def adaptive_pool(e: Emission, x: fx.Node, output_size: Any, op_type: str) -> ir.Value:
    """A global pool for output size 1, a plain pool where the input divides evenly; else refused."""
    if output_size in (1, (1, 1), [1, 1]):
        return elementwise(e, f"Global{op_type}Pool", x)
    size = e.shape_of(x)[2:]
    target = [have if want is None else want for want, have in zip(_maybe_pair(output_size), size, strict=True)]
    if not all(isinstance(a, int) and isinstance(b, int) and a % b == 0 for a, b in zip(size, target, strict=True)):
        raise UnsupportedError(f"{e.name}: adaptive pooling of {size} to {output_size} is no pool of one fixed window")
    kernel = [a // b for a, b in zip(size, target, strict=True)]  # type: ignore[operator] # ints, checked above
    if op_type == "Max":
        return max_pool(e, x, kernel, kernel, 0, 1, False)
    return average_pool(e, x, kernel, kernel, 0, False, True)


def _maybe_pair(value: Any) -> tuple[int | None, int | None]:
    return (value, value) if isinstance(value, int) or value is None else (value[0], value[1])


def flatten(e: Emission, x: fx.Node, start_dim: int = 0, end_dim: int = -1) -> ir.Value:
    """Flatten behind the batch; a Reshape for other axes."""
    rank = e.rank(x)
    start, end = start_dim % rank, end_dim % rank
    if start == 1 and end == rank - 1:
        return elementwise(e, "Flatten", x, axis=1)
    return reshape(e, x, [0] * start + [-1] + [int(size) for size in e.shape[start + 1 :] if isinstance(size, int)])


def reshape(e: Emission, x: fx.Node, target: list[int]) -> ir.Value:
    """Reshape to ``target`` in ONNX's form (0 keeps a size, −1 is inferred)."""
    return e("Reshape", [e.value(x), e.constant("shape", np.array(target, np.int64))])


def pixel_shuffle(e: Emission, x: fx.Node, factor: int) -> ir.Value:
    """DepthToSpace in torch's channel order."""
    return elementwise(e, "DepthToSpace", x, blocksize=factor, mode="CRD")


def resize(e: Emission, x: fx.Node, mode: str, align_corners: bool | None) -> ir.Value:
    """Resize by the ratio of the shapes, with torch's rule of coordinates."""
    modes = {"nearest": "nearest", "bilinear": "linear", "bicubic": "cubic"}
    if mode not in modes:
        raise UnsupportedError(f"{e.name}: upsampling mode {mode!r} cannot be exported, use one of {sorted(modes)}")
    have, want = e.shape_of(x), list(e.shape)
    if not all(isinstance(size, int) for size in [*have[2:], *want[2:]]):
        raise UnsupportedError(f"{e.name}: upsampling needs a fixed image size, export without dynamic_spatial")
    scales = [1.0, 1.0, *(b / a for a, b in zip(have[2:], want[2:], strict=True))]  # type: ignore[operator]
    rule = "asymmetric" if mode == "nearest" else "align_corners" if align_corners else "half_pixel"
    return e(
        "Resize",
        [e.value(x), None, e.constant("scales", np.array(scales, np.float32))],
        mode=modes[mode],
        coordinate_transformation_mode=rule,
        nearest_mode="floor",
        cubic_coeff_a=-0.75,
    )
