"""The Python in the documentation runs, beside the stored bundle of digits; its tables are those of bench/results."""

import re
import runpy
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

PAGES = sorted((Path(__file__).parents[2] / "docs").glob("*.md"))
BUNDLE = Path(__file__).parents[1] / "data" / "digits.zip"
BLOCK = re.compile(r"^(<!-- not run: .+? -->\n)?```python\n(.*?)^```", re.S | re.M)


def blocks(page: Path) -> list[str]:
    """Return the blocks to run; one that cannot run here says why in a comment above it, ``<!-- not run: why -->``."""
    return [code for excuse, code in BLOCK.findall(page.read_text(encoding="utf-8")) if not excuse]


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)], ids=lambda page: page.name)
def test_the_examples_of_a_page_run(page: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(BUNDLE).extractall(tmp_path)  # pages speak of model.onnx
    # In a process of their own: what an example changes, other tests would meet.
    code = "\n".join(blocks(page))
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_tables_of_the_pages_are_those_that_the_benchmarks_wrote() -> None:
    place = Path(__file__).parents[2] / "tools" / "write_docs.py"
    writer = runpy.run_path(str(place))
    for page in writer["PAGES"]:
        text = page.read_text(encoding="utf-8")
        assert "<!-- table " in text, page
        assert writer["filled"](text) == text, f"{page.name} is not what its results say: python tools/write_docs.py"
