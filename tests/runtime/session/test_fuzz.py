"""Altered models under guard pages: no traceback of another tree, no signal, no hang, no answer but onnxruntime's.

Every buffer and every input ends at a page that nobody may touch (tests/support/guarded.py), so what reads behind it
ends the process. To see a fault again run ``python -m latentbit.tests.support.fuzz NUMBER 1``.
"""

import secrets

import pytest

from ...support import fuzz
from ...support.early import EARLY
from ...support.hunt import watch

COUNT = 150
FIXED = (0, 41_000, fuzz.LATER, fuzz.EDGES)
"""Where the corpus begins that every run repeats."""


@pytest.mark.timeout(400)
@pytest.mark.parametrize("first", [*FIXED, None])
def test_altered_models(first: int | None) -> None:
    if first is None:
        if EARLY:
            pytest.skip(
                "onnxruntime 1.19 itself ends the process on some altered models, as a Resize to a negative size"
            )
        first = fuzz.LATER + secrets.randbelow(2**41)
    found = watch(fuzz.__name__, first, COUNT)
    assert not found.faults, f"mutants from {first} on: {found.faults[0]}"
    assert found.tried == COUNT
    assert found.asked > COUNT // 50, "hardly a mutant was answered: the test compares nothing"


@pytest.mark.timeout(400)
@pytest.mark.parametrize("number", [77_772_745, 77_780_089, 77_784_395, 123_463_615, 9_000_000_005_189])
def test_models_that_were_faults(number: int) -> None:
    """A float part that changes its shapes, a value of too few axes, a line break in a name, a stride past 64 bits,
    a Split that has more outputs than parts."""
    assert watch(fuzz.__name__, number, 1).faults == []
