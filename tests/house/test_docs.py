"""The Python in the documentation runs, beside the stored bundle of digits; its tables are those of bench/results."""

import json
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
    # In a process of their own: an example may declare an operator, which other tests would meet.
    code = "\n".join(blocks(page))
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_page_of_networks_is_what_was_measured() -> None:
    bench = Path(__file__).parents[2] / "bench"
    writer = runpy.run_path(str(bench / "any_network" / "page.py"))
    entries = json.loads((bench / "results" / "networks.json").read_text(encoding="utf-8"))["networks"]
    again = "python -m bench.any_network.networks --page"
    assert writer["page"](entries) == writer["PAGE"].read_text(encoding="utf-8"), again


def test_the_tables_of_the_pages_are_those_that_the_benchmarks_wrote() -> None:
    place = Path(__file__).parents[2] / "tools" / "write_docs.py"
    writer = runpy.run_path(str(place))
    for page in writer["PAGES"]:
        text = page.read_text(encoding="utf-8")
        assert "<!-- table " in text, page
        assert writer["filled"](text) == text, f"{page.name} is not what its results say: python tools/write_docs.py"


def test_the_chart_of_the_readme_shows_what_its_benchmark_measured() -> None:
    tool = runpy.run_path(str(Path(__file__).parents[2] / "tools" / "draw_speed.py"))
    found = tool["bars"](json.loads(tool["RESULT"].read_text(encoding="utf-8")))
    picture = tool["PICTURE"].read_text(encoding="utf-8")
    shown = [text.strip() for text in re.findall(r"<text[^>]*>([^<]*)</text>", picture)]
    labels = [tool["label"](time, found[0][1]) for _, time in found]
    assert sorted(shown) == sorted([name for name, _ in found] + labels)
