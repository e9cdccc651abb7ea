"""Arrays whose end abuts a page that nobody may touch, and a process in which whatever reads behind them dies."""

import ctypes
import mmap
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

import latentbit.runtime
from latentbit.runtime.layout import memory

__all__ = ["SPARE", "guard_buffers", "guarded", "guarded_copy"]

SPARE = 64
"""Bytes behind a buffer of ours that a kernel may read (layout/memory.py)."""

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
_libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
_FAILED = ctypes.c_void_p(-1).value
_PRIVATE_ANONYMOUS = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS


def guarded(count: int, dtype: Any = np.uint8, *, spare: int = SPARE, align: int = 64) -> NDArray[Any]:
    """Return ``count`` zeros; ``spare`` bytes behind them, and some in front, lies a page that may not be touched.

    The memory is never given back: a test of it lives in a process of its own.
    """
    page = mmap.PAGESIZE
    size = count * np.dtype(dtype).itemsize
    body = -(-(size + spare + align) // page) * page
    base = _libc.mmap(None, body + 2 * page, mmap.PROT_READ | mmap.PROT_WRITE, _PRIVATE_ANONYMOUS, -1, 0)
    if base == _FAILED:
        raise MemoryError("the system gives this process no more guarded pages: try fewer numbers in one process")
    _libc.mprotect(base, page, 0)
    _libc.mprotect(base + page + body, page, 0)
    start = base + page + body - spare - size
    start -= start % align
    return np.frombuffer((ctypes.c_uint8 * size).from_address(start), dtype, count=count)


def guarded_copy(array: ArrayLike) -> NDArray[Any]:
    """Return an array of the same values, with nothing behind its last byte."""
    source = np.asarray(array)
    copy = guarded(source.size, source.dtype, spare=0, align=source.itemsize).reshape(source.shape)
    copy[...] = source
    return copy


def guard_buffers() -> None:
    """Let every buffer of the runtime be made by :func:`guarded` from now on, in this process."""
    folder = Path(latentbit.runtime.__file__).parent
    for path in [
        *(folder / "layout").glob("*.py"),
        *(folder / "steps").glob("*.py"),
        *(folder / "session").glob("*.py"),
    ]:
        module = import_module(f"latentbit.runtime.{path.parent.name}.{path.stem}")
        if getattr(module, "aligned", None) is memory.aligned and module is not memory:
            module.aligned = guarded  # type: ignore[attr-defined]
    memory.aligned = guarded
