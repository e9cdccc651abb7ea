"""The programs of examples/ run as they are, each in a process of its own, and what they trained has learned."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))


@pytest.mark.parametrize("program", EXAMPLES, ids=lambda program: program.stem)
def test_an_example_runs_and_learns(program: Path, tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (percent,) = re.findall(r"(\d+\.\d)%", done.stdout)
    assert float(percent) > 80, done.stdout  # measured: 98, 100 and 89
    assert (tmp_path / f"{program.stem}.onnx").stat().st_size < 100_000


def test_each_example_is_named_by_the_readme() -> None:
    readme = (EXAMPLES[0].parents[1] / "README.md").read_text(encoding="utf-8")
    assert {program.name for program in EXAMPLES} == set(re.findall(r"\(examples/(\w+\.py)\)", readme))
