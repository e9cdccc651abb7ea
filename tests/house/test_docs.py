"""The tables and charts of the documentation are what the benchmarks wrote; tests/docs runs its code."""

import json
import re
import runpy
from pathlib import Path


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


def test_the_figures_that_pages_quote_are_those_of_the_networks() -> None:
    writer = runpy.run_path(str(Path(__file__).parents[2] / "tools" / "write_docs.py"))
    for page in writer["QUOTES"]:
        text = page.read_text(encoding="utf-8")
        assert len(re.findall(r"^\| \w+, [\d×]+ \| [\d.]+% \| \*\*[\d.]+×\*\* \|", text, re.MULTILINE)) > 5
        assert writer["quoted"](text) == text, f"{page.name} quotes other figures: python tools/write_docs.py"


def test_the_chart_of_the_readme_shows_what_its_benchmark_measured() -> None:
    tool = runpy.run_path(str(Path(__file__).parents[2] / "tools" / "draw_speed.py"))
    found = tool["bars"](json.loads(tool["RESULT"].read_text(encoding="utf-8")))
    picture = tool["PICTURE"].read_text(encoding="utf-8")
    shown = [text.strip() for text in re.findall(r"<text[^>]*>([^<]*)</text>", picture)]
    labels = [tool["label"](time, found[0][1]) for _, time in found]
    assert sorted(shown) == sorted([name for name, _ in found] + labels)
