"""Altered models under guard pages: no traceback of another tree, no signal, no hang, no answer but onnxruntime's.

Every buffer and every input ends at a page that nobody may touch (tests/support/guarded.py), so what reads behind it
ends the process. To see a fault again run ``python -m tests.support.fuzz NUMBER 1``.
"""

import os
import secrets
import subprocess
import sys

import pytest

from ...support import fuzz

COUNT = 150
FIXED = (0, 41_000)
"""Where the corpus begins that every run repeats."""


def tried(first: int, count: int) -> str:
    """Return what the program says of some mutants; onnxruntime's own deaths are passed over."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    said, last = "", first + count
    while first < last:
        command = [sys.executable, "-m", fuzz.__name__, str(first), str(last - first)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment, check=False)
        said += done.stdout
        if done.stdout.endswith("done\n"):
            return said
        number, who = done.stdout.splitlines()[-1].split()[:2]
        assert who == "onnxruntime", f"mutant {number} ended the process ({done.returncode}): {done.stderr[-1500:]}"
        first = int(number) + 1
    return said


@pytest.mark.timeout(150)
@pytest.mark.parametrize("first", [*FIXED, None])
def test_altered_models(first: int | None) -> None:
    first = secrets.randbelow(2**40) if first is None else first
    said = tried(first, COUNT)
    faults = said.split("FAULT ")[1:]
    assert not faults, f"mutants from {first} on: {faults[0]}"
    assert said.count(" onnxruntime\n") > COUNT // 50, "hardly a mutant was answered: the test compares nothing"
