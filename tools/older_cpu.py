"""Run a benchmark as on a CPU with AVX2: AVX-512, VNNI and AMX are hidden from every engine, ours and theirs.

    python tools/older_cpu.py -m bench.nets.resnet18 --runs 30 --out bench/results/avx2

Clock, caches and ports stay those of this CPU. Needs Linux on x86-64, a C compiler, and a CPU that can make ``cpuid``
fault (Intel since Ivy Bridge, AMD since Zen 2 on a new kernel); ends with a line where it cannot. See older_cpu.c.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path


def main() -> None:
    """Build the library and run the program named with it preloaded."""
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    with tempfile.TemporaryDirectory() as scratch:
        library, source = Path(scratch) / "older_cpu.so", Path(__file__).with_suffix(".c")
        subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", str(library), str(source)], check=True)
        environment = {**os.environ, "LD_PRELOAD": str(library), "BENCH_UNDER": "tools/older_cpu.py"}
        done = subprocess.run([sys.executable, *sys.argv[1:]], env=environment, check=False)
    sys.exit(done.returncode)


if __name__ == "__main__":
    main()
