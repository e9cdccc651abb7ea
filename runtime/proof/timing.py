"""Measuring fairly on a shared machine: everything in one process, by turns, with warm-up."""

from collections.abc import Callable, Mapping
from time import perf_counter_ns
from typing import Any

import numpy as np

from .report import Times

__all__ = ["interleaved", "stock_session", "times"]

_WARM_UP = 3


def stock_session(data: bytes, num_threads: int) -> Any:
    """Return a plain onnxruntime session on the bytes of a model, all graph optimisations on."""
    from ..session.float_model import open_session  # imports onnxruntime: command lines list peers without it

    return open_session(data, num_threads)


def interleaved(calls: Mapping[str, Callable[[], object]], runs: int) -> dict[str, list[float]]:
    """Call each in turn ``runs`` times after a warm-up and return its wall times in milliseconds."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(-_WARM_UP, runs):
        for name, call in calls.items():
            start = perf_counter_ns()
            call()
            if turn >= 0:
                times[name].append((perf_counter_ns() - start) / 1e6)
    return times


def times(values: list[float]) -> Times:
    """Return median, 95th and 99th percentile and best of wall times in milliseconds."""
    p95, p99 = (float(np.percentile(values, share)) for share in (95, 99))
    return Times(float(np.median(values)), p95, float(np.min(values)), p99)
