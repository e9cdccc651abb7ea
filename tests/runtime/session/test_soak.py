"""A session in long use: the same bits from every thread, and no memory that grows."""

import sys

import pytest

from ...support import soak

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
GROWTH = 8 * 2**20


@pytest.mark.timeout(3000)
@pytest.mark.parametrize(
    "runs", [pytest.param(20_000, id="short"), pytest.param(1_000_000, id="long", marks=pytest.mark.slow)]
)
def test_every_answer_is_the_first_one(runs: int) -> None:
    found = soak.infer("digits", runs, threads=4)
    assert (found.runs, found.wrong) == (runs, 0)
    assert found.growth < GROWTH
    assert found.median <= found.p99 <= found.longest


@pytest.mark.timeout(3000)
@pytest.mark.parametrize("loads", [pytest.param(60, id="short"), pytest.param(1000, id="long", marks=pytest.mark.slow)])
def test_a_session_that_is_dropped_leaves_nothing(loads: int) -> None:
    found = soak.load("digits", loads)
    assert (found.loads, found.wrong) == (loads, 0)
    assert found.growth < GROWTH
