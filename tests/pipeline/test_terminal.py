"""The habits of the terminal: Ctrl-C, a closed pipe, colour and width, in real processes."""

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

BUNDLE = str(Path(__file__).parents[1] / "data" / "digits.zip")
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


def on_a_terminal(*arguments: str, **environment: str) -> str:
    """Run a command on a terminal of 80 columns, and return what it shows there."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    kept = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
    process = subprocess.Popen(
        [sys.executable, "-c", MAIN, *arguments],
        stdout=theirs,
        stderr=subprocess.DEVNULL,
        env=kept | {"PYTHONPATH": os.pathsep.join(sys.path), "TERM": "xterm-256color"} | environment,
    )
    os.close(theirs)
    shown = b""
    try:
        while block := os.read(ours, 4096):
            shown += block
    except OSError:  # Linux says so where the other end is closed
        pass
    os.close(ours)
    assert process.wait() == 0
    return shown.decode()


GREEN = re.compile(r"\x1b\[1;32m *accuracy check")
SEQUENCE = re.compile(r"\x1b\[([0-9;]*)m")


@pytest.mark.timeout(300)
@pytest.mark.parametrize("command", ["show", "check"])
def test_the_verdict_has_a_colour_on_terminals_that_want_one(command: str, finished: Path) -> None:
    quick = ["--oracle-samples", "2", "--latency-runs", "3"]
    arguments = [command, str(finished)] if command == "show" else [command, BUNDLE, *quick]
    shown = on_a_terminal(*arguments)
    assert GREEN.search(shown)
    codes = ";".join(SEQUENCE.findall(on_a_terminal(*arguments, NO_COLOR="1"))).split(";")
    assert not {code for code in codes if 30 <= int(code or 0) <= 107}, "bold is no colour"
    if command == "show":
        lines = SEQUENCE.sub("", shown).splitlines()
        assert max(map(len, lines)) <= 80


@pytest.mark.timeout(300)
def test_an_ascii_terminal_and_a_pipe_get_plain_text(finished: Path) -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONIOENCODING": "ascii", "LANG": "C"}
    for arguments in (["show", str(finished)], ["profile", "zoo:digits", "--runs", "1"], ["zoo"], ["info", "--help"]):
        done = subprocess.run(
            [sys.executable, "-c", MAIN, *arguments], env=environment, capture_output=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, b"")
        assert done.stdout.isascii()
        assert b"\x1b" not in done.stdout
