"""What opening a model takes: processor time, and memory over the size of its file; beside onnxruntime on a float file.

    python -m bench.nets.start PACKED.onnx --float FLOAT.onnx [--runs 20]

Times are those of this thread, taken by turns in this process: the first session on a file, a second one beside it, and
the first run of each, which makes buffers. onnxruntime opens the float file. Memory is what a process of its own grows
by, first when the file is opened, then when a second session opens it. Prints a Markdown table of medians and bests.
"""

import argparse
import subprocess
import sys
from pathlib import Path
from statistics import median
from time import thread_time_ns
from typing import Any

import numpy as np

from latentbit.runtime import InferenceSession
from latentbit.runtime.machine.environment import environment
from latentbit.runtime.proof.timing import stock_session

_MEMORY = """
import sys
from pathlib import Path
from bench.nets.start import opened, run
def resident():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) / 1024
kind, path, small = sys.argv[1:]
run(opened(kind, small))  # what a process takes once
held, grown = [], []
for _ in range(2):
    before = resident()
    held.append(opened(kind, path))
    grown.append(resident() - before)
print(*grown)
"""


def opened(kind: str, path: str | Path) -> Any:
    """Return a session on a file: ours, or onnxruntime's."""
    return InferenceSession(path) if kind == "latentbit" else stock_session(Path(path).read_bytes(), 1)


def run(session: Any) -> None:
    """Run one batch of zeros."""
    entry = session.get_inputs()[0]
    shape = [size if isinstance(size, int) else 1 for size in entry.shape]
    session.run(None, {entry.name: np.zeros(shape, np.uint8 if "uint8" in entry.type else np.float32)})


def milliseconds(found: dict[str, list[float]], name: str, kind: str, path: Path) -> Any:
    """Open and run once; both times are entered under the name. Returns the session."""
    start = thread_time_ns()
    session = opened(kind, path)
    middle = thread_time_ns()
    run(session)
    end = thread_time_ns()
    found.setdefault(f"{name}: open", []).append((middle - start) / 1e6)
    found.setdefault(f"{name}: first run", []).append((end - middle) / 1e6)
    return session


def grown(kind: str, path: Path) -> tuple[float, float]:
    """Return by how many MiB a process grows that opens a file, and by how many when it opens it once more."""
    command = [
        sys.executable,
        "-c",
        _MEMORY,
        kind,
        str(path),
        str(Path(__file__).parents[2] / "runtime/zoo/digits.onnx"),
    ]
    first, second = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return float(first), float(second)


def main() -> None:
    """Measure both files and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path, help="packed model")
    parser.add_argument("--float", type=Path, required=True, help="the same network in float")
    parser.add_argument("--runs", type=int, default=20)
    options = parser.parse_args()
    found: dict[str, list[float]] = {}
    for turn in range(options.runs + 1):  # the first turn compiles and reads from the disk
        first = milliseconds(found, "latentbit", "latentbit", options.model)
        second = milliseconds(found, "latentbit, second session", "latentbit", options.model)
        del first, second  # the next turn finds nothing to share
        milliseconds(found, "onnxruntime, float", "onnxruntime", options.float)
        if not turn:
            found.clear()
    files = {"latentbit": options.model, "onnxruntime": options.float}
    about = environment()
    print(f"{options.model.name}, {options.runs} turns; {about['cpu']}; {about['versions']}\n")
    print("| | processor ms |\n|---|---|")
    for name, times in found.items():
        print(f"| {name} | {median(times):.1f} ({min(times):.1f}) |")
    print("\n| | file, MiB | opened, MiB | times the file | second session, MiB |\n|---|---|---|---|---|")
    for kind, path in files.items():
        size, (first_mib, second_mib) = path.stat().st_size / 2**20, grown(kind, path)
        print(f"| {kind} | {size:.1f} | {first_mib:.1f} | {first_mib / size:.1f} | {second_mib:.1f} |")


if __name__ == "__main__":
    main()
