"""A trial of two kernels on this machine: which counts faster here. Cores with the same instructions differ in that.

Both run one small layer by turns in the time of this thread. What came out is kept beside the compiled kernels, under
their seal (:mod:`..machine.cache`), so a machine tries each pair once; without a cache each process does.
"""

import hashlib
import struct
import time
from functools import cache

import numpy as np

from ..intake.model import BinaryLayer
from ..kernels.registry import Kernel
from ..machine.cache import keep_object, kept_object
from ..machine.cores import cpu_cores
from ..machine.cpu import cpu_name
from ..machine.jit import compiled_for
from ..machine.library import current_library
from ..operators import SIGNATURES
from ..plan.monotone import Threshold
from ..plan.parts import Planned
from ..plan.units import Unit
from .buffers import Buffers, channel_last
from .step import Step
from .unit import PreparedUnit

__all__ = ["speed_ratio"]

_CHANNELS, _SIZE = 128, 28
"""Of the layer: 116 million products, 0.1 ms on a server, 3 ms on an in-order core."""

_TURNS, _PATIENCE = 9, 10_000_000
"""Runs of each kernel, at least, and nanoseconds in which there may be more; the best counts. Beside other programs the
first few runs may all be slow ones, and one kernel loses more than the other."""

_OPERATOR = next(name for name, its in SIGNATURES.items() if its.rank == 4 and not its.real_input)

_ROOM = 1 << 26
"""Bytes that the buffers may take: some 200 KB are needed, whatever limit the user has set for models."""

_RATIO = struct.Struct("<d")


def speed_ratio(first: Kernel, other: Kernel) -> float:
    """Return how many times as long ``other`` takes as ``first`` for a 3×3 convolution of 128 channels on 28×28 pixels.

    Above 1 the first is faster. Both must be able to run here.
    """
    library = current_library()
    origin = compiled_for() if library is None else library.cpu_class
    return _kept_ratio(first, other, "\n".join((origin, cpu_name(), *sorted(cpu_cores()))))


@cache
def _kept_ratio(first: Kernel, other: Kernel, machine: str) -> float:
    """Return the ratio that was measured before on this machine, with these compilers, or measure it now."""
    name = f"trial-{first.name}-{other.name}-{hashlib.sha256(machine.encode()).hexdigest()[:16]}"
    kept = kept_object(name)
    if kept is not None:
        ratio: float = _RATIO.unpack(kept)[0]
        return ratio
    ratio = _measured(first, other)
    keep_object(name, _RATIO.pack(ratio))
    return ratio


def _measured(first: Kernel, other: Kernel) -> float:
    rows = [_steps(first), _steps(other)]
    best = [np.inf, np.inf]
    begin, turns = time.thread_time_ns(), 0
    while turns < _TURNS or time.thread_time_ns() - begin < _PATIENCE:
        turns += 1
        for index, steps in enumerate(rows):
            start = time.thread_time_ns()
            for step in steps:
                step.run(0)
            best[index] = min(best[index], time.thread_time_ns() - start)
    return best[1] / best[0]


def _steps(kernel: Kernel) -> list[Step]:
    """Return the steps of the layer on this kernel but for the packing, which is the same for all, run once."""
    random = np.random.default_rng(0)
    layer = BinaryLayer(
        name="trial",
        op_type=_OPERATOR,
        input="input",
        output="output",
        shape=(_CHANNELS, _CHANNELS, 3, 3),
        packed=random.integers(0, 256, (_CHANNELS, 3, 3, _CHANNELS // 8), np.uint8),
        scale=np.ones(_CHANNELS, np.float32),
        bias=np.zeros(_CHANNELS, np.float32),
        pads=(1, 1, 1, 1),
    )
    unit = Unit(layer, "input", Threshold.at(np.zeros(_CHANNELS, np.float32)), "output", (0,), (_OPERATOR,))
    image = random.standard_normal((1, _SIZE, _SIZE, _CHANNELS)).astype(np.float32)
    buffers = Buffers(values={channel_last("input"): image}, room=_ROOM)
    pack, *rest = PreparedUnit.of(Planned(unit, kernel, "trial", stored=True)).bind(buffers).steps
    pack.run(0)
    return rest
