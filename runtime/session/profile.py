"""Where the time goes: microseconds of every step of a run, also as a trace for chrome://tracing or Perfetto."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter_ns
from typing import Any

__all__ = ["StepTime", "Stopwatch", "chrome_trace", "summed"]


@dataclass(frozen=True)
class StepTime:
    """One step on one image (a float segment: on the whole batch).

    ``kind`` is ``float`` or ``kernel``; ``start`` and ``duration`` are microseconds, ``start`` from the run's.
    """

    name: str
    kind: str
    start: float
    duration: float


class Stopwatch:
    """Collects steps; ``clock`` gives nanoseconds, wall time unless told otherwise."""

    def __init__(self, clock: Callable[[], int] = perf_counter_ns) -> None:
        self._clock = clock
        self._zero = clock()
        self.steps: list[StepTime] = []

    def time(self, name: str, kind: str, call: Callable[[], object]) -> None:
        """Call and record."""
        start = self._clock()
        call()
        end = self._clock()
        self.steps.append(StepTime(name, kind, (start - self._zero) / 1e3, (end - start) / 1e3))


def summed(steps: Sequence[StepTime]) -> dict[str, float]:
    """Return microseconds by step name, in order of first execution (images of a batch added up)."""
    totals: dict[str, float] = {}
    for step in steps:
        totals[step.name] = totals.get(step.name, 0.0) + step.duration
    return totals


def chrome_trace(steps: Sequence[StepTime]) -> dict[str, Any]:
    """Return the steps in the trace event format of Chrome, ready for ``json.dump``."""
    return {
        "displayTimeUnit": "ns",
        "traceEvents": [
            {"name": step.name, "cat": step.kind, "ph": "X", "ts": step.start, "dur": step.duration, "pid": 1, "tid": 1}
            for step in steps
        ],
    }
