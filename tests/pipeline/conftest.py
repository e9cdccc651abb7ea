"""One real, short run of all stages, shared by the tests that look at what it left."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SHORT = ("-s", "train.epochs=3", "-s", "check.oracle_samples=4", "-s", "check.latency_runs=20")
"""A run of seconds. Three epochs do not reach the accuracy of the recipe; the agreement figures do not need it."""


def pipeline(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run the command line in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "latentbit", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "120"},
    )


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory of a finished run; tests must leave it as it is."""
    path = tmp_path_factory.mktemp("runs") / "short"
    done = pipeline("run-all", "-o", str(path), *SHORT)
    assert done.returncode == 0, done.stdout + done.stderr
    return path
