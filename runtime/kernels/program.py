"""Running the steps of a binary segment in one call: alone, or several threads together.

A program is a table of int64 rows, one a step: address of the kernel, address of its words, amount of work on an
image. :func:`run_alone` does it in order. In :func:`run_shared` every thread walks the same program; it takes the work
of a step in portions from a shared counter and goes on when all of it is done::

    shared    [0] open   [1] threads inside   [2] yield (address)   [3] threads that may help
              then, from SHARED_HEAD on, two words for each image and step: work taken, work done

Nobody waits for a thread that is late to start, only for portions that another one has begun: a thread that the system
takes long to wake, or that it puts aside, costs little more than its own help.
"""

from typing import Any

import llvmlite.ir as ir
from numba import types
from numba.extending import intrinsic

from ..layout.words import SHARED_HEAD
from .llvm import I32, I64, call_kernel, const, kernel, load_i64, pointer, routine

__all__ = ["run_alone", "run_shared"]

_SPINS = 2000  # of some 30 ns: together longer than a portion takes to end, shorter than a time slice
_PORTIONS = 6  # per thread: fine enough to even out, coarse enough to keep weights in the cache


def _emit_add(typing_context: Any, address: Any, index: Any, value: Any) -> Any:
    """Add to a shared word and return what it was; orders all memory."""

    def generate(context: Any, b: Any, signature: Any, arguments: Any) -> Any:
        place = pointer(b, b.add(arguments[0], b.mul(arguments[1], const(8))), I64)
        return b.atomic_rmw("add", place, arguments[2], "seq_cst")

    return types.int64(types.int64, types.int64, types.int64), generate


_add: Any = intrinsic(_emit_add)


@routine
def _yield(b: Any, address: Any) -> None:
    """Call the C function at an address without arguments (sched_yield), if there is one."""
    with b.if_then(b.icmp_signed("!=", address, const(0))):
        b.call(b.inttoptr(address, ir.FunctionType(I32, []).as_pointer()), [])


@kernel
def run_alone(program: int, count: int, begin: int, end: int) -> None:
    """Do all ``count`` steps on each of the images ``begin … end − 1``."""
    for image in range(begin, end):
        for index in range(count):
            row = program + index * 24
            call_kernel(load_i64(row, 0), load_i64(row, 1), image, 0, load_i64(row, 2))


@kernel
def run_shared(program: int, count: int, images: int, shared: int) -> None:
    """Help with all steps on all images as long as the program is open."""
    threads = load_i64(shared, 3)
    _add(shared, 1, 1)
    if _add(shared, 0, 0) != 0:
        for image in range(images):
            for index in range(count):
                row = program + index * 24
                address, words, work = load_i64(row, 0), load_i64(row, 1), load_i64(row, 2)
                counters = shared + (SHARED_HEAD + 2 * (image * count + index)) * 8
                portion = max(1, work // (threads * _PORTIONS))
                begin = _add(counters, 0, portion)
                while begin < work:
                    end = min(work, begin + portion)
                    call_kernel(address, words, image, begin, end)
                    _add(counters, 1, end - begin)
                    begin = _add(counters, 0, portion)
                spins = 0
                while _add(counters, 1, 0) < work:
                    spins += 1
                    if spins > _SPINS:
                        _yield(load_i64(shared, 2))
    _add(shared, 1, -1)
