"""Hunting for what ends a process: a program tries one number after another, and another process watches it.

A program of this folder that hunts (:mod:`.fuzz`, :mod:`.fuzz_files`) says ``NUMBER WHO`` before somebody's code runs
on the thing of that number, ``FAULT NUMBER what`` of what is wrong, ``FINE NUMBER`` of all else, ``done`` at its end.
For as many minutes as there are::

    python -m latentbit.tests.support.hunt fuzz 40 [--first 1000000] [--log faults.txt]
"""

import argparse
import os
import re
import secrets
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from latentbit.runtime.kernels.dense import SIGNED
from latentbit.runtime.kernels.entry import entry_point
from latentbit.runtime.kernels.registry import KERNELS
from latentbit.runtime.kernels.sums import SUMS
from latentbit.runtime.machine.library import usable_features

__all__ = ["Found", "hunt", "say", "watch"]

_LINES = re.MULTILINE | re.DOTALL
_BATCH = 1000
"""Things a process of a long hunt: then it ends, and what it has leaked with it."""


def say(*words: object) -> None:
    """Write a line that is there whatever becomes of the process."""
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def hunt(attempt: Callable[[int], str | None], first: int, count: int) -> None:
    """Try the things of ``count`` numbers; ``attempt`` gives what is wrong, or None."""
    for number in range(first, first + count):
        fault = attempt(number)
        say(*(("FINE", number) if fault is None else ("FAULT", number, fault)))
    say("done")


@dataclass
class Found:
    """What was found: how many were tried, what was wrong with which, and in how many another's code died."""

    tried: int = 0
    asked: int = 0
    faults: list[str] = field(default_factory=list)
    others: int = 0


def watch(module: str, first: int, count: int, *, ours: str = "latentbit", limit: float = 100) -> Found:
    """Return what a program finds, started anew behind each number that ends it. A hang is a fault as well.

    ours: deaths in code of another name are counted and passed over. limit: seconds without a word, which is a hang.
    """
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    found, last = Found(), first + count
    while first < last:
        command = [sys.executable, "-m", module, str(first), str(last - first)]
        said, told = _listen(command, environment, limit)
        ended = f"said nothing for {limit:.0f} s" if told is None else "ended the process"
        lines = said.splitlines()
        found.faults += [
            f"mutant {each}" for each in re.findall(r"^FAULT (.*?)(?=^FINE |^\d+ |^done|\Z)", said, _LINES)
        ]
        found.tried += len(re.findall("^(?:FINE|FAULT) ", said, re.M))
        found.asked += sum(line.endswith(" onnxruntime") for line in lines)
        if lines and lines[-1] == "done":
            break
        words = next((line.split() for line in reversed(lines) if line[:1].isdigit()), None)
        if words is None:
            found.faults.append(f"nothing was tried from {first} on {told or ''}")
            break
        found.tried += 1
        if words[1] == ours:
            found.faults.append(f"mutant {words[0]} {ended} {told or ''}")
        else:
            found.others += 1
        first = int(words[0]) + 1
    return found


def _listen(command: list[str], environment: dict[str, str], limit: float) -> tuple[str, str | None]:
    """Return what a program has said, and how it ended: its code and errors; None where it fell silent."""
    said = b""
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, env=environment)
        assert process.stdout is not None
        with process.stdout as stream:
            while select.select([stream], [], [], limit)[0]:
                part = os.read(stream.fileno(), 2**16)
                if not part:
                    code = process.wait()
                    errors.seek(0)
                    return said.decode(errors="replace"), f"({code}): {errors.read().decode(errors='replace')[-1500:]}"
                said += part
        process.kill()
        process.wait()
    return said.decode(errors="replace"), None


def _compile_kernels() -> None:
    """Compile the kernels that are not in the cache: a process that compiles some is silent meanwhile.

    Four seconds of a core for one of them were five minutes among eighteen processes, and were taken for a hang.
    """
    usable = usable_features()
    for kernel in (*KERNELS, *SUMS, *SIGNED):
        if kernel.features <= usable:
            entry_point(kernel.module, kernel.symbol)
    for module, symbol in (("pack", "pack_floats"), ("copies", "turned_image"), ("shortcut", "project_blocks")):
        entry_point(module, symbol)


def main() -> int:
    """Hunt for some minutes, tell the figures now and then, and return 1 where there is a fault."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("program", choices=("fuzz", "fuzz_files"))
    parser.add_argument("minutes", type=float)
    parser.add_argument("--first", type=int, default=secrets.randbelow(2**42))
    parser.add_argument("--log", type=Path, help="add each fault to this file")
    options = parser.parse_args()
    module = f"{__name__.rpartition('.')[0] if __name__ != '__main__' else __package__}.{options.program}"
    _compile_kernels()
    end, first, whole = time.monotonic() + 60 * options.minutes, options.first, Found()
    while time.monotonic() < end:
        found = watch(module, first, _BATCH, limit=300)
        first += _BATCH
        whole.tried, whole.asked = whole.tried + found.tried, whole.asked + found.asked
        whole.others += found.others
        whole.faults += found.faults
        if options.log is not None and found.faults:
            with options.log.open("a", encoding="utf-8") as log:
                log.write("\n".join(found.faults) + "\n")
        say(f"{whole.tried} tried from {options.first} on: {len(whole.faults)} faults, "
            f"{whole.asked} answered and compared, {whole.others} deaths of onnxruntime")  # fmt: skip
    return bool(whole.faults)


if __name__ == "__main__":
    sys.exit(main())
