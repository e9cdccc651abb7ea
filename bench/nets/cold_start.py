"""Cold start to the first inference, by processor seconds and memory.

    python -m bench.nets.cold_start MODEL [--runs 5]

Each run is a process of its own that imports the runtime, opens the model and runs one batch of zeros: with a kernel
library built ahead of time, with kernels compiled here before, and with an empty cache. Prints a Markdown table of
medians.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from latentbit.runtime.kernels.build import build_libraries
from latentbit.runtime.machine.environment import environment
from latentbit.runtime.machine.library import VARIABLE, cpu_class

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


def measure(model: Path, settings: dict[str, str]) -> tuple[float, float, bool]:
    """Return processor seconds, MiB and whether numba was imported."""
    done = subprocess.run(
        [sys.executable, "-c", _CODE, str(model)],
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        check=True,
    )
    seconds, mebibytes, jit = json.loads(done.stdout)
    return seconds, mebibytes, jit


def main() -> None:
    """Build the library, measure the three ways, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    name = cpu_class()
    assert name is not None
    found: dict[str, list[tuple[float, float, bool]]] = {"library": [], "warm cache": [], "empty cache": []}
    with tempfile.TemporaryDirectory() as scratch:
        build_libraries(Path(scratch), [name])
        for run in range(options.runs + 1):  # the first brings files into memory and is left out
            for kind, times in found.items():
                # An empty cache is a new folder, which is the warm one of the turn after.
                folder = Path(scratch) / f"{run - (kind == 'warm cache')}"
                caches = {VARIABLE: "", "NUMBA_CACHE_DIR": str(folder)}
                if run:
                    times.append(measure(options.model, {VARIABLE: scratch} if kind == "library" else caches))
                elif kind == "empty cache":
                    measure(options.model, caches)
    about = environment()
    print(f"{options.model.name}, {about['cpu']}, {about['versions']}\n")
    print("| kernels | processor seconds | peak memory, MiB |\n| --- | --- | --- |")
    for kind, times in found.items():
        assert {jit for *_, jit in times} == {kind == "empty cache"}
        print(f"| {kind} | {median(time[0] for time in times):.2f} | {median(time[1] for time in times):.0f} |")


if __name__ == "__main__":
    main()
