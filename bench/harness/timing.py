"""Taking times: one call by a clock, and several calls by turns."""

import time
from collections.abc import Callable, Mapping

Clock = Callable[[], int]


def milliseconds(call: Callable[[], object], clock: Clock = time.thread_time_ns) -> float:
    """Return how long one call takes; by default in CPU time of this thread, which other programs do not lengthen."""
    start = clock()
    call()
    return (clock() - start) / 1e6


def clock_of(engine: str) -> Clock:
    """Return the clock for an engine with one thread: the wall's for OpenVINO, which works in a thread of its own."""
    return time.perf_counter_ns if engine.startswith("OpenVINO") else time.thread_time_ns


def by_turns(
    calls: Mapping[str, Callable[[], object]], runs: int, clock: Callable[[str], Clock] = clock_of, warm_up: int = 3
) -> dict[str, list[float]]:
    """Return the milliseconds of every call by its name, from ``runs`` turns after ``warm_up`` that are not counted.

    In each turn a call is made twice and the second one timed: it finds its caches as it left them.
    ``clock`` returns the clock for a name.
    """
    times: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(-warm_up, runs):
        for name, call in calls.items():
            call()
            taken = milliseconds(call, clock(name))
            if turn >= 0:
                times[name].append(taken)
    return times
