"""Cold start to the first inference, by processor seconds and memory: ``python bench/cold_start.py MODEL [--runs 5]``.

Each run is a process of its own that imports the runtime, opens the model and runs one batch of zeros: with a kernel
library built ahead of time, and with numba and a warm cache. Prints a Markdown table of medians.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from latentbit.runtime.aot import build_libraries
from latentbit.runtime.environment import environment
from latentbit.runtime.library import VARIABLE, cpu_class

_CODE = """
import json, resource, sys
import numpy as np
from latentbit.runtime import InferenceSession
session = InferenceSession(sys.argv[1])
entry = session.get_inputs()[0]
shape = [size if isinstance(size, int) else 1 for size in entry.shape]
session.run(None, {entry.name: np.zeros(shape, np.uint8 if "uint8" in entry.type else np.float32)})
used = resource.getrusage(resource.RUSAGE_SELF)
with open("/proc/self/status") as status:  # ru_maxrss would inherit the size of the process that started this one
    peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
print(json.dumps([used.ru_utime + used.ru_stime, peak / 1024, "numba" in sys.modules]))
"""


def measure(model: Path, runs: int, settings: dict[str, str]) -> tuple[float, float]:
    """Return the medians of processor seconds and MiB; the first process, which may fill a cache, is left out."""
    found = []
    for _ in range(runs + 1):
        done = subprocess.run(
            [sys.executable, "-c", _CODE, str(model)],
            env={**os.environ, **settings},
            capture_output=True,
            text=True,
            check=True,
        )
        seconds, mebibytes, jit = json.loads(done.stdout)
        assert jit is not bool(settings)
        found.append((seconds, mebibytes))
    return median(seconds for seconds, _ in found[1:]), median(size for _, size in found[1:])


def main() -> None:
    """Build the library, measure both ways, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    name = cpu_class()
    assert name is not None
    with tempfile.TemporaryDirectory() as scratch:
        build_libraries(Path(scratch), [name])
        rows = (("library", {VARIABLE: scratch}), ("numba, warm cache", {}))
        figures = [(label, *measure(options.model, options.runs, settings)) for label, settings in rows]
    about = environment()
    print(f"{options.model.name}, {about['cpu']}, {about['versions']}\n")
    print("| kernels | processor seconds | peak memory, MiB |\n| --- | --- | --- |")
    for label, seconds, mebibytes in figures:
        print(f"| {label} | {seconds:.2f} | {mebibytes:.0f} |")


if __name__ == "__main__":
    main()
