"""docs/results.md against its logs: every table there is what the stored runs give."""

import html
import json
import re
import runpy
from collections import Counter
from pathlib import Path

import pytest

from latentbit.runtime.metrics import current_names
from latentbit.training.studies.results import render, summarise

DOCS = Path(__file__).parents[3] / "docs"
LOGS = sorted((DOCS / "results").glob("*.jsonl"))
RUNS = sorted((DOCS / "results" / "gpu").glob("*.jsonl"))

pytestmark = pytest.mark.skipif(not LOGS, reason="docs/ is no part of the installed package")


@pytest.mark.parametrize("log", LOGS, ids=lambda path: path.stem)
def test_the_table_of_a_log_stands_in_the_results(log: Path) -> None:
    records = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    variants = list(dict.fromkeys(record["variant"] for record in records))
    budgets = list(dict.fromkeys(record["budget"] for record in records))
    page = (DOCS / "results.md").read_text(encoding="utf-8")
    assert render(summarise(records, variants, budgets)) in page
    assert log.name in page


def test_the_page_and_its_chart_are_what_the_logs_say() -> None:
    tool = runpy.run_path(str(DOCS.parent / "tools" / "write_results.py"))
    again = "python tools/write_results.py"
    for path in (tool["PAGE"], tool["METHODS"]):
        page = path.read_text(encoding="utf-8")
        assert tool["filled"](page) == page, again
    assert set(tool["index"]()) == {log.stem for log in LOGS}, "a line of index.toml for each log"
    picture = tool["PICTURE"].read_text(encoding="utf-8")
    shown = Counter(html.unescape(text).strip() for text in re.findall(r"<text[^>]*>([^<]*)</text>", picture))
    wanted: Counter[str] = Counter()
    for title, rows in tool["compared"]().items():
        wanted[title] += 1
        wanted.update(tool["gain"](rows["L1", budget]) for budget in tool["SERIES"] if ("L1", budget) in rows)
    assert len(wanted) > 5
    assert wanted <= shown, again
    figures = Counter({text: count for text, count in shown.items() if " ± " in text and text[0] in "+-"})
    assert figures <= wanted, again


def test_the_chart_of_the_twins_shows_every_line_on_both_scales() -> None:
    tool = runpy.run_path(str(DOCS.parent / "tools" / "write_results.py"))
    picture = tool["TWINS_PICTURE"].read_text(encoding="utf-8")
    shown = Counter(html.unescape(text).strip() for text in re.findall(r"<text[^>]*>([^<]*)</text>", picture))
    names = [line["model"].removeprefix("zoo:") for line in tool["twins"]()]
    assert len(names) > 2
    assert [name for name in names if shown[name] != 2] == [], "python tools/write_results.py"
    assert [title for title, *_ in tool["FORMS"].values() if not shown[title]] == []


def test_a_log_without_a_section_of_its_own_is_listed_with_its_command() -> None:
    tool = runpy.run_path(str(DOCS.parent / "tools" / "write_results.py"))
    page = tool["PAGE"].read_text(encoding="utf-8")
    name = next(iter(tool["index"]()))
    entry = {"title": "A title", "command": "pipeline ablate x.toml"}
    tool["others"].__globals__["index"] = lambda: {name: entry}
    assert tool["others"](page) == ""
    listed = tool["others"](page.replace(f"<!-- results {name} -->", ""))
    for part in (
        "### A title",
        f"results/{name}.jsonl",
        "    pipeline ablate x.toml",
        render(tool["rows_of"](name)).strip(),
    ):
        assert part in listed


@pytest.mark.parametrize("log", LOGS, ids=lambda path: path.stem)
def test_logs_are_paired_and_measured_alike(log: Path) -> None:
    records = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    baseline = records[0]["variant"]
    seeds = {record["seed"] for record in records if record["variant"] == baseline}
    assert {record["seed"] for record in records} <= seeds
    assert len({record["dataset_sha256"] for record in records}) == 1
    # Either all on the test images or all on held-out training images, never a mixture.
    assert len({current_names(record)["test_accuracy"] is None for record in records}) == 1


@pytest.mark.parametrize("log", RUNS, ids=lambda path: path.stem)
def test_the_figures_of_a_single_run_stand_in_the_results(log: Path) -> None:
    *epochs, result = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    page = (DOCS / "results.md").read_text(encoding="utf-8")
    assert f"results/gpu/{log.name}" in page
    assert result["command"] in page
    for name in ("test_accuracy", "latent_test_accuracy", "train_accuracy"):
        assert f"| {100 * result[name]:.2f}% |" in page, name
    assert f"| {result['epochs']:.1f}, {result['steps']:,} |" in page
    assert f"| {result['images_per_second']:,.0f} |" in page
    assert len(epochs) == round(result["epochs"] + 0.5)
