"""Memory for kernels, on the borders of cache lines."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["aligned"]


def aligned(count: int, dtype: Any = np.uint8) -> NDArray[Any]:
    """Return zeros at an address that is a multiple of 64, with 64 spare bytes before and behind them."""
    size = count * np.dtype(dtype).itemsize
    raw = np.zeros(size + 192, np.uint8)
    start = 64 + -raw.ctypes.data % 64
    return raw[start : start + size].view(dtype)
