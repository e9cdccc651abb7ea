"""A program: the steps of a binary segment as a table that compiled code runs in one call, alone or with helpers."""

import ctypes
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from queue import SimpleQueue
from time import perf_counter
from weakref import ReferenceType, ref

import numpy as np

from ..kernels.entry import entry_point
from ..layout.memory import aligned
from ..layout.words import SHARED_HEAD
from ..steps.step import Step
from .pace import Pace

__all__ = ["Claim", "Helpers", "Program"]


@cache
def _yield_address() -> int:
    """Return the address of sched_yield, 0 where the system has none."""
    try:
        return ctypes.cast(ctypes.CDLL(None).sched_yield, ctypes.c_void_p).value or 0
    except (AttributeError, OSError):
        return 0


class Program:
    """Steps bound to run on ``images`` images by up to ``threads`` threads."""

    def __init__(self, steps: Sequence[Step], images: int, threads: int) -> None:
        table = np.array([(step.address, step.words.ctypes.data, step.work) for step in steps], np.int64)
        self._keep, self._table = (table, *steps), table.ctypes.data  # an address, which numpy takes its time to tell
        self._count, self._images = len(steps), images
        self._alone = entry_point("program", "run_alone")
        self._shared = aligned(SHARED_HEAD + 2 * images * len(steps), np.int64)
        self._shared[2], self._shared[3] = _yield_address(), threads
        self._pace = Pace()
        self._help = entry_point("program", "run_shared") if threads > 1 else None

    def run(self, helpers: "Helpers | None" = None) -> None:
        """Do all steps on all images; with helpers in shares."""
        if helpers is None or self._help is None:
            self._alone(self._table, self._count, 0, self._images)
            return
        claim = helpers.claim() if helpers.always or self._pace.shared() else None
        start = perf_counter()
        if claim is not None:
            self._share(helpers, claim)
        else:
            self._alone(self._table, self._count, 0, self._images)
        self._pace.took(claim is not None, perf_counter() - start)

    def _share(self, helpers: "Helpers", claim: "Claim") -> None:
        try:
            self._shared[SHARED_HEAD:] = 0
            self._shared[0] = 1
            helpers.call(self)
            self.help()
            self._shared[0] = 0
            while self._shared[1]:  # a helper is about to leave
                pass
        finally:
            helpers.release(claim)

    def help(self) -> None:
        """Take part in a run."""
        assert self._help is not None
        self._help(self._table, self._count, self._images, self._shared.ctypes.data)


@dataclass
class _Desk:
    """What helpers share with their owner: the program that they help with, and a bell, which wakes one for each ring.

    The bell is a SimpleQueue, whose calls no signal divides. A semaphore of :mod:`threading` takes its lock in Python
    code, where an exception may strike before the lock is given back: everybody would wait for ever.
    """

    bell: "SimpleQueue[None]"
    program: Program | None = None
    closed: bool = False


class Claim:
    """A run's hold on the helpers. It ends with this object, at whatever point an exception ends the run."""


class Helpers:
    """Sleeping threads that serve one run at a time; they end with their owner.

    ``always``: a program takes their help whether that is measured to be faster or not.
    """

    def __init__(self, count: int, *, always: bool = False) -> None:
        self.count, self.always = count, always
        self._desk = _Desk(SimpleQueue())
        self._holders: dict[int, ReferenceType[Claim]] = {}
        self._turn = 0
        self._started = False

    def claim(self) -> Claim | None:
        """Take the helpers for a run; None where another run has them.

        No lock is held meanwhile, so a signal handler that runs the session finds them taken, and does without.
        """
        claim, turn = Claim(), self._turn
        mine = ref(claim)
        # setdefault is one step, which no thread and no signal can divide: a turn has one holder.
        while (holder := self._holders.setdefault(turn, mine)) is not mine:
            if holder() is not None:
                return None
            turn += 1  # an exception ended that run: the next turn goes to whoever comes first
        self._turn = turn
        return claim

    def release(self, claim: Claim) -> None:
        """Give the helpers back."""
        holder = self._holders.get(self._turn)
        if holder is not None and holder() is claim:
            self._desk.program = None
            self._holders.pop(self._turn, None)

    def call(self, program: Program) -> None:
        """Ring for help with a program."""
        if not self._started:
            self._started = True
            for index in range(self.count):
                threading.Thread(target=_serve, args=(self._desk,), name=f"latentbit-{index}", daemon=True).start()
        self._desk.program = program
        self._ring()

    def close(self) -> None:
        """Let the threads end."""
        self._desk.closed = True
        self._ring()

    def _ring(self) -> None:
        for _ in range(self.count):
            self._desk.bell.put(None)

    def __del__(self) -> None:
        self.close()


def _serve(desk: _Desk) -> None:
    while True:
        desk.bell.get()
        if desk.closed:
            return
        program = desk.program
        if program is not None:
            program.help()
        del program
