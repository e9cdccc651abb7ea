"""The notebooks of examples/ run from the first cell to the last, and what they trained has learned."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))


def printed(notebook: Path) -> str:
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return "".join(line for cell in cells for output in cell.get("outputs", ()) for line in output.get("text", ()))


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda notebook: notebook.stem)
def test_a_notebook_runs_and_learns(notebook: Path, tmp_path: Path) -> None:
    pytest.importorskip("nbclient", reason="nbclient runs notebooks: tox -e docs")
    command: list[str | Path] = [
        sys.executable,
        ROOT / "tools" / "run_notebook.py",
        notebook,
        "-o",
        tmp_path / "run.ipynb",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (percent,) = re.findall(r"(\d+\.\d)%", printed(tmp_path / "run.ipynb"))
    assert float(percent) > 90
    assert (tmp_path / f"{notebook.stem}.onnx").stat().st_size < 100_000


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda notebook: notebook.stem)
def test_a_notebook_was_saved_as_it_ran(notebook: Path) -> None:
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    counts = [cell["execution_count"] for cell in cells if cell["cell_type"] == "code"]
    assert counts == list(range(1, len(counts) + 1)), "python tools/run_notebook.py"
    assert "%" in printed(notebook)
    assert str(Path.home()) not in notebook.read_text(encoding="utf-8")
