"""Several threads inside a run: the same bits, no thread left behind, and a pace that follows the figures."""

import gc
import threading
import time

import numpy as np

from latentbit.runtime.session import InferenceSession
from latentbit.runtime.session.pace import Pace

from ...support.graphs import GraphMaker, chain


def helpers() -> int:
    return sum(thread.name.startswith("latentbit-") for thread in threading.enumerate())


def test_shared_runs_give_the_same_bits() -> None:
    data = chain(channels=72, size=16).SerializeToString()
    alone, shared = InferenceSession(data), InferenceSession(data, num_threads=3)
    for seed in range(40):
        x = GraphMaker(seed).floats(1 + seed % 2, 72, 16, 16)
        np.testing.assert_array_equal(alone.run(None, {"input": x})[0], shared.run(None, {"input": x})[0])
    assert helpers() == 2


def test_helpers_end_with_their_session() -> None:
    gc.collect()
    session = InferenceSession(chain().SerializeToString(), num_threads=2)
    for _ in range(3):
        session.run(None, {"input": GraphMaker().floats(1, 12, 8, 8)})
    assert helpers() >= 1
    del session
    gc.collect()
    end = time.monotonic() + 10
    while helpers() and time.monotonic() < end:
        time.sleep(0.01)
    assert helpers() == 0


def test_the_pace_follows_what_is_faster() -> None:
    def shares(alone: float, together: float, runs: int = 400) -> float:
        pace, count = Pace(), 0
        for _ in range(runs):
            shared = pace.shared()
            count += shared
            pace.took(shared, together if shared else alone)
        return count / runs

    assert shares(alone=2.0, together=1.0) > 0.9
    assert shares(alone=1.0, together=20.0) < 0.05
