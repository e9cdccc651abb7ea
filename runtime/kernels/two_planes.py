"""Kernels of activations of two bits: those of the registry, over two planes.

A level from 0 to 3 has the bits b₀ and b₁, each as ±1 in a plane of its own, and Σ w · (b₀ + 2 · b₁) is Σ w · b₀ twice
the second plane added. So a kernel counts a pixel in both planes as it counts two pixels of one, with the same weights,
and its epilogue adds what the second one mismatches twice. Two counts take the place of three, one for each threshold.
"""

from dataclasses import replace
from typing import Any

from ..layout.tables import row_order, strip_order
from .fits import few_in_rows
from .registry import KERNELS, Kernel

__all__ = ["PLANES"]


def _over_planes(name: str, symbol: str, **differs: Any) -> Kernel:
    """Return the form of a kernel over two planes: two pixels that it counts side by side are one in both."""
    kernel = next(kernel for kernel in KERNELS if kernel.name == name)
    pixels = kernel.pixels // 2
    form = replace(kernel, module=f"{kernel.module}_planes", symbol=symbol, planes=2, pixels=pixels)
    return replace(form, **{"order": row_order(pixels), **differs})


PLANES = (
    _over_planes("perm", "conv_perm_planes", order=strip_order(7), slow=few_in_rows),
    _over_planes("csa", "conv_csa_planes"),
    _over_planes("lut2", "conv_lut2_planes"),
    _over_planes("tbl", "conv_tbl_planes"),
    _over_planes("ctp", "conv_ctp_planes", features=frozenset({"asimd"})),
)
"""The first that fits CPU and layer is taken, unless the rival of the kernel that counts as it does is faster here.

They have the names of those kernels. Where the CPU counts no bits in bytes, two planes by ctp take longer than three
copies by lut.
"""
