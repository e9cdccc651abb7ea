"""The commands for devices: ``bench`` and ``build-kernels`` (``bundle`` has a file of its own)."""

import json
import shutil
from pathlib import Path

import pytest

from latentbit.pipeline.paths import MODEL
from latentbit.runtime.machine.library import cpu_class, load_library

from .conftest import pipeline
from .test_terminal_json import KEYS


def test_bench_as_json_and_as_a_table(finished: Path) -> None:
    model = str(finished / MODEL)
    done = pipeline("bench", model, "--runs", "3", "--threads", "1,2", "--json")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["results"]
    assert [(row["engine"], row["threads"]) for row in rows] == [
        (engine, threads) for threads in (1, 2) for engine in ("latentbit", "onnxruntime")
    ]
    for ours, theirs in (rows[:2], rows[2:]):
        assert ours["ratio"] == 1
        assert theirs["ratio"] == theirs["median"] / ours["median"]
        assert ours["best"] > 0
    shown = pipeline("bench", model, "--runs", "3")
    assert "times ours" in shown.stdout
    assert "latentbit" in shown.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--threads", "one"], "give whole numbers"),
        (["--peers", "abacus"], "no peer abacus"),
        (["--runs", "0"], "--runs"),
    ],
)
def test_bench_refuses(finished: Path, arguments: list[str], words: str) -> None:
    done = pipeline("bench", str(finished / MODEL), *arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_build_kernels_for_this_cpu(tmp_path: Path) -> None:
    if cpu_class() is None or shutil.which("cc") is None:
        pytest.skip("needs a linker for this CPU")
    done = pipeline("build-kernels", "-o", str(tmp_path), "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    file = tmp_path / f"{cpu_class()}.so"
    assert answer == {"libraries": {str(file): file.stat().st_size}}
    assert set(answer) == KEYS["build-kernels"]
    assert load_library(tmp_path / f"{cpu_class()}.so").cpu_class == cpu_class()
