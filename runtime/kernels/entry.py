"""Compiled kernels as functions to call: from the library in use, or compiled here."""

import ctypes
from collections.abc import Callable
from functools import cache

from ..machine.jit import kernel_address
from ..machine.library import Library, current_library

__all__ = ["entry_address", "entry_point"]

_prototype = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 4)


def entry_point(module: str, symbol: str) -> Callable[[int, int, int, int], None]:
    """Return the compiled kernel ``symbol`` of ``kernels/MODULE.py``; called, it releases the interpreter lock."""
    return _entry_point(current_library(), module, symbol)


@cache
def _entry_point(built: Library | None, module: str, symbol: str) -> Callable[[int, int, int, int], None]:
    return _prototype(kernel_address(module, symbol) if built is None else built.address(symbol))


def entry_address(call: Callable[[int, int, int, int], None]) -> int:
    """Return the address behind an entry point, for compiled code to call it."""
    return ctypes.cast(call, ctypes.c_void_p).value or 0  # type: ignore[arg-type]
