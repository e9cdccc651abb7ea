"""The habits of the terminal: Ctrl-C and a closed pipe, in real processes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

MAIN = "from latentbit.pipeline.cli import main; main()"


def start(*arguments: str, stdout: int = subprocess.PIPE) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", MAIN, *arguments]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(
        command, stdout=stdout, stderr=subprocess.PIPE, text=True, env=environment, preexec_fn=_as_in_a_terminal
    )


def _as_in_a_terminal() -> None:
    """Let SIGINT act: a job in the background of a shell, as CI may be, ignores it, and hands that on."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.timeout(180)
def test_ctrl_c_says_that_the_run_goes_on_and_exits_with_130(tmp_path: Path) -> None:
    short = ("-s", "train.epochs=2000", "-s", "train.latent=none")
    process = start("run-all", "-o", str(tmp_path / "run"), *short)
    end = time.monotonic() + 120
    while not (tmp_path / "run/1-train/metrics.jsonl").exists() and time.monotonic() < end:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert said.splitlines()[-1] == "stopped: the same command goes on from here"
    assert "Traceback" not in said


@pytest.mark.timeout(120)
@pytest.mark.parametrize("arguments", [["zoo"], ["zoo", "digits", "--json"]])
def test_a_closed_pipe_is_no_failure(arguments: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)  # before a line is written: as ``head`` does when it has enough
    process = start(*arguments, stdout=writer)
    os.close(writer)
    _, said = process.communicate(timeout=100)
    assert (process.returncode, said) == (0, "")
