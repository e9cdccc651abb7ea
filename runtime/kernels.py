"""The kernels, in one list: what each needs, which layers it takes, how its data lie, and how it is called.

To add a kernel write its module with one function ``kernel(descriptor, image, begin, end)`` and add a line to
:data:`KERNELS`; tests, ``info`` and benchmarks read the list. The first kernel that fits CPU and layer is taken.
"""

import ctypes
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .cpu import cpu_features
from .errors import ModelError
from .layout import BYTES, ImageFormat
from .model import BinaryLayer

__all__ = ["KERNELS", "Kernel", "choose", "entry_point"]


def rows(tile: int) -> Callable[[int, int], NDArray[Any]]:
    """Return an order of output pixels: row by row, filled up to whole tiles."""

    def order(height: int, width: int) -> NDArray[Any]:
        count = height * width
        return np.concatenate([np.arange(count), np.full(-count % tile, -1)])

    return order


@dataclass(frozen=True)
class Kernel:
    """A convolution kernel.

    ``features`` the CPU must have; ``takes`` says None, or why not this layer; ``piece`` bytes may be counted before
    the counters are widened; a tile is ``pixels`` places of ``order`` × ``vectors`` · 32 output channels.
    """

    name: str
    symbol: str
    module: str
    features: frozenset[str]
    format: ImageFormat
    piece: int
    pixels: int
    vectors: int
    order: Callable[[int, int], NDArray[Any]]
    takes: Callable[[BinaryLayer], str | None]


KERNELS = (
    Kernel("ctp", "conv_ctp", "kernel_ctp", frozenset(), BYTES, 31, 4, 2, rows(4), lambda layer: None),
)  # fmt: skip


def choose(layer: BinaryLayer, wanted: str | None = None) -> tuple[Kernel, str]:
    """Return the kernel for a layer and the reason in words; ``wanted`` overrides by name where it fits.

    Raises ModelError for a kernel that does not exist or that this CPU cannot run.
    """
    features = cpu_features()
    refusals: list[str] = []
    if wanted is not None and wanted not in {kernel.name for kernel in KERNELS}:
        raise ModelError(f"there is no kernel {wanted}; there are {', '.join(kernel.name for kernel in KERNELS)}")
    for kernel in sorted(KERNELS, key=lambda kernel: kernel.name != wanted):
        missing = kernel.features - features
        refusal = f"the CPU has no {', '.join(sorted(missing))}" if missing else kernel.takes(layer)
        if refusal is None:
            return kernel, "; ".join(refusals) or ("as asked" if kernel.name == wanted else "first choice")
        if kernel.name == wanted and missing:
            raise ModelError(f"kernel {wanted} cannot run here: {refusal}")
        refusals.append(f"not {kernel.name}: {refusal}")
    raise ModelError(f"node {layer.name}: no kernel takes it ({'; '.join(refusals)})")


_PROTOTYPE = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)


@cache
def entry_point(module: str, symbol: str) -> Callable[[int, int, int, int], None]:
    """Return the compiled function ``symbol``; called, it releases the interpreter lock."""
    compiled = getattr(importlib.import_module(f".{module}", __package__), symbol)
    return _PROTOTYPE(compiled.address)
