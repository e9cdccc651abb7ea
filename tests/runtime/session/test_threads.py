"""Several threads inside a run: the same bits, no thread left behind, and a pace that follows the figures."""

import gc
import threading
import time
from typing import Any

import numpy as np
import pytest

from latentbit.runtime.errors import InputError
from latentbit.runtime.session import InferenceSession
from latentbit.runtime.session.pace import Pace
from latentbit.runtime.session.program import Helpers, Program

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


@pytest.mark.parametrize("share", ["always", "never"])
def test_sharing_may_be_asked_for_or_forbidden(share: str, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[Program] = []
    plain = Helpers.call

    def call(self: Helpers, program: Program) -> None:
        called.append(program)
        plain(self, program)

    monkeypatch.setattr(Helpers, "call", call)
    data, x = chain(channels=72, size=16).SerializeToString(), GraphMaker().floats(1, 72, 16, 16)
    expected = InferenceSession(data).run(None, {"input": x})[0]
    session = InferenceSession(data, num_threads=2, share=share)
    for _ in range(20):
        np.testing.assert_array_equal(session.run(None, {"input": x})[0], expected)
    per_run = len(set(called))
    assert len(called) == (20 * per_run if share == "always" else 0)
    assert (per_run > 0) == (share == "always")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"share": "sometimes"}, "share is 'sometimes'; give one of auto, always, never"),
        ({"share": "always"}, "nobody to share with; give num_threads=2 or more"),
    ],
)
def test_a_share_that_cannot_be_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        InferenceSession(chain().SerializeToString(), **options)


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
