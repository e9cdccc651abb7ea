"""Altered files of every other kind than models: each is an answer or one line of our tree.

To see a fault again run ``python -m latentbit.tests.support.fuzz_files NUMBER 1``.
"""

import secrets

import pytest

from ..support import fuzz_files
from ..support.hunt import watch

COUNT = 3 * len(fuzz_files.KINDS)
FAULTS = (991_572, 992_661, 5_550_229, 5_550_422, 5_551_412)
"""Files that were once no single line: images of seven channels, a reference of no signs, an attribute of another type,
images of any size."""


@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    ("first", "count"), [(0, COUNT), (51, COUNT), (None, COUNT), *((number, 1) for number in FAULTS)]
)
def test_altered_files(first: int | None, count: int) -> None:
    first = secrets.randbelow(2**40) if first is None else first
    found = watch(fuzz_files.__name__, first, count)
    assert not found.faults, f"files from {first} on: {found.faults[0]}"
    assert found.tried == count
