"""Altered files of every other kind than models: each is an answer or one line of our tree.

To see a fault again run ``python -m latentbit.tests.support.fuzz_files NUMBER 1``.
"""

import secrets

import pytest

from ..support import fuzz_files
from ..support.hunt import watch

COUNT = 3 * len(fuzz_files.KINDS)


@pytest.mark.timeout(400)
@pytest.mark.parametrize("first", [0, 51, None])
def test_altered_files(first: int | None) -> None:
    first = secrets.randbelow(2**40) if first is None else first
    found = watch(fuzz_files.__name__, first, COUNT)
    assert not found.faults, f"files from {first} on: {found.faults[0]}"
    assert found.tried == COUNT
