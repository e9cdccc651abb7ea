"""The streaming example of docs/device.md, as it stands there: it runs, and memory does not grow with the frames."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[2]


def example() -> str:
    page = (TESTS.parent / "docs" / "device.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    (code,) = (block for block in blocks if "camera(" in block)
    return str(code)


def run(code: str, folder: Path) -> str:
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_example_answers_every_frame_in_bounded_memory(tmp_path: Path) -> None:
    shutil.unpack_archive(TESTS / "data" / "digits.zip", tmp_path)
    code = example()
    assert "camera(5000)" in code
    peak = "\nimport resource; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    short = run(code.replace("camera(5000)", "camera(500)") + peak, tmp_path).rsplit("\n", 2)
    long = run(code + peak, tmp_path).rsplit("\n", 2)
    assert sum(map(int, re.findall(r"\d+", long[0]))) == 5000
    kib = int(long[1]) - int(short[1])
    assert kib < 8192, f"4,500 further frames took {kib} KiB more"
