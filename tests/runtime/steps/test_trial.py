"""The trial of two kernels: it runs both by turns, takes the best of each, and a machine asks once."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from latentbit.runtime.kernels.registry import KERNELS, Kernel, find_kernel
from latentbit.runtime.machine.library import usable_features
from latentbit.runtime.steps import trial

ASK = """
import sys
from latentbit.runtime.kernels.registry import find_kernel
from latentbit.runtime.steps import trial
measured = trial._measured
trial._measured = lambda *pair: print("measured") or measured(*pair)
print(trial.speed_ratio(find_kernel("ctp"), find_kernel("ctp")))
"""


def ask(cache: Path) -> list[str]:
    """Return what a process prints that has its cache there: ``measured`` if it ran the trial, and the ratio."""
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(cache)}
    done = subprocess.run([sys.executable, "-c", ASK], env=environment, capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_every_kernel_of_whole_groups_can_be_tried_here() -> None:
    can = [kernel for kernel in KERNELS if kernel.features <= usable_features() and not kernel.format.sliced]
    assert {"ctp"} <= {kernel.name for kernel in can}
    for kernel in can:
        assert trial._measured(kernel, kernel) > 0


@pytest.mark.parametrize("kernel", [kernel for kernel in KERNELS if kernel.rival], ids=lambda kernel: kernel.name)
def test_a_rival_stands_behind_its_kernel(kernel: Kernel) -> None:
    assert KERNELS.index(find_kernel(kernel.rival)) > KERNELS.index(kernel)


def test_the_best_of_each_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that steps move: what another program delays now and then changes nothing."""
    now, runs = [0], list[str]()

    class FakeStep:
        def __init__(self, name: str, nanoseconds: int) -> None:
            self.name, self.nanoseconds = name, nanoseconds

        def run(self, image: int) -> None:
            runs.append(self.name)
            now[0] += self.nanoseconds * (50 if len(runs) % 7 == 0 else 1)

    ctp = find_kernel("ctp")
    costs = {"a": [FakeStep("a", 300), FakeStep("a", 100)], "b": [FakeStep("b", 1000)]}
    monkeypatch.setattr(trial, "_steps", lambda kernel: costs[kernel.name])
    monkeypatch.setattr(trial.time, "thread_time_ns", lambda: now[0])  # type: ignore[attr-defined]
    assert trial._measured(replace(ctp, name="a"), replace(ctp, name="b")) == 2.5
    assert runs[:6] == ["a", "a", "b", "a", "a", "b"], "by turns"


def test_a_machine_tries_once(tmp_path: Path) -> None:
    first = ask(tmp_path)
    assert first[0] == "measured"
    assert ask(tmp_path) == first[1:], "the second process finds what the first one measured"
    (kept,) = tmp_path.glob("latentbit/kernels/*/trial-ctp-ctp-*")
    kept.write_bytes(kept.read_bytes()[:-1])
    assert ask(tmp_path)[0] == "measured", "what nobody sealed is not believed"


def test_a_limit_of_memory_for_models_is_none_for_a_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LATENTBIT_LIMITS", "memory_bytes=1000")
    assert trial._measured(find_kernel("ctp"), find_kernel("ctp")) > 0
