"""report.html: complete in itself, readable by everybody, and a real browser shows it without a complaint."""

import json
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from latentbit.pipeline.measuring import int8_form
from latentbit.pipeline.paths import FOLDED, HISTORY, REPORT, STEPS
from latentbit.pipeline.reporting.charts import BINARY, accuracy_way, curves
from latentbit.pipeline.reporting.classes import classes
from latentbit.pipeline.reporting.engines import engines
from latentbit.pipeline.reporting.facts import read_facts
from latentbit.pipeline.reporting.page import write_report
from latentbit.pipeline.reporting.verdict import verdict
from latentbit.pipeline.rundir import RunDir

from ..support.browser import Seen, look_at, needs_chromium

STYLE = Path(__file__).resolve().parents[2] / "pipeline/reporting/templates/style.css"


@pytest.fixture(scope="module")
def page(finished: Path) -> str:
    return (finished / "report.html").read_text(encoding="utf-8")


def test_the_page_is_complete_in_itself(page: str) -> None:
    sources = re.findall(r'(?:\ssrc|<link[^>]* href)="([^"]{0,40})', page)
    assert sources
    assert all(source.startswith("data:") for source in sources)
    assert set(re.findall(r"url\(([^)]{2})", page)) <= {"#w", "#a", "#l", "#r", "#t"}, "clips of the charts alone"
    for word in ("@import", "<script", "http://localhost", "#010101"):
        assert word not in page
    assert "prefers-color-scheme: dark" in page


def test_the_page_holds_what_the_run_found(page: str, finished: Path) -> None:
    report = json.loads((finished / REPORT).read_text(encoding="utf-8"))
    words = " ".join(page.split()).replace("\N{NO-BREAK SPACE}", " ")
    for text in (
        "Accuracy check passed",
        f"{100 * report['accuracy']['deployed']:.2f} %",
        "Guessing among 10 classes gets 10.0 %",
        "95% interval",
        "blocks.0.conv",
        "weights and inputs are ±1",
        "Accuracy by class",
        "Confusion matrix",
        "Learning rate",
        "float stream",
        "onnxruntime int8",
        "✓ within",
        "train.epochs",
        "latentbit run-all -s train.epochs=3 -s check.oracle_samples=4 -s check.latency_runs=20 -o runs/short",
    ):
        assert text in words, text
    assert page.count("<img") == 24


def test_stages_record_what_the_page_tells(finished: Path) -> None:
    lines = [json.loads(line) for line in (finished / HISTORY).read_text(encoding="utf-8").splitlines()]
    assert all({"learning_rate", "binary_accuracy", "latent_accuracy"} <= set(line) for line in lines)
    assert lines[-1]["learning_rate"] < max(line["learning_rate"] for line in lines)
    steps = json.loads((finished / STEPS).read_text(encoding="utf-8"))
    assert steps["version"] == 2
    assert all(step["microseconds"] > 0 for step in steps["steps"])
    report = read_facts(RunDir.open(finished)).report
    assert set(report.agreement.integer_mismatches) == set(report.kernels)
    assert report.int8 is not None
    assert report.int8.problem == ""
    assert report.int8.accuracy is not None
    assert report.int8.accuracy > 0.5


def older(finished: Path, folder: Path) -> Path:
    """Return a copy of a run as an earlier version left it."""
    copy = folder / "older"
    shutil.copytree(finished, copy)
    lines = [json.loads(line) for line in (copy / HISTORY).read_text(encoding="utf-8").splitlines()]
    kept = ("accuracy", "epoch", "loss", "seconds")
    (copy / HISTORY).write_text("\n".join(json.dumps({key: line[key] for key in kept}) for line in lines) + "\n")
    steps = json.loads((copy / STEPS).read_text(encoding="utf-8"))["steps"]
    bare = [{key: step[key] for key in ("name", "kind", "ops", "kernel", "reason")} for step in steps]
    (copy / STEPS).write_text(json.dumps({"steps": bare}))
    report = json.loads((copy / REPORT).read_text(encoding="utf-8"))
    for key in ("int8", "self_test"):
        del report[key]
    for key in ("integer_mismatches", "flip_margins"):
        del report["agreement"][key]
    del report["accuracy"]["majority"]
    (copy / REPORT).write_text(json.dumps(report))
    manifest = json.loads((copy / "run.json").read_text(encoding="utf-8"))
    for record in manifest["stages"].values():
        del record["date"]
    (copy / "run.json").write_text(json.dumps(manifest))
    return copy


def test_a_run_of_an_earlier_version_has_a_page_too(finished: Path, tmp_path: Path) -> None:
    copy = older(finished, tmp_path)
    write_report(RunDir.open(copy))
    page = (copy / "report.html").read_text(encoding="utf-8")
    assert "Accuracy check passed" in page
    assert "training images right" in page
    assert "onnxruntime fp32" in page
    for missing in ("Learning rate", "onnxruntime int8", 'class="time"'):
        assert missing not in page


def test_a_passed_check_of_a_network_that_guesses_is_no_success(finished: Path) -> None:
    facts = read_facts(RunDir.open(finished))
    assert verdict(facts).state == "passed"
    accuracy = replace(facts.report.accuracy, deployed=0.12)
    weak = verdict(replace(facts, report=replace(facts.report, accuracy=accuracy)))
    assert (weak.state, weak.sign) == ("weak", "!")
    assert "hardly better than guessing" in weak.title
    failed = verdict(replace(facts, report=replace(facts.report, failures=("layer a: 3 integers differ",))))
    assert (failed.state, failed.failures) == ("failed", ("layer a: 3 integers differ",))


def test_of_many_classes_the_page_lists_mistakes_and_the_lowest_shares(finished: Path) -> None:
    facts = read_facts(RunDir.open(finished))
    many = replace(facts, about={**facts.about, "labels": [f"kind {number}" for number in range(40)]})
    assert many.reference.labels is not None
    turned = {"logits": np.roll(facts.answers["logits"], 1, axis=1)}
    found = classes(replace(many, answers=turned))
    assert found is not None
    assert found.matrix == []
    assert found.errors == np.sum(turned["logits"].argmax(axis=1) != many.reference.labels)
    assert found.pairs[0][2] == max(number for _, _, number in found.pairs) > 10
    assert len(found.wrong) == facts.run.config.report.images // 2
    assert all(not tile.right for tile in found.wrong)


def test_what_fails_in_another_tool_is_told_and_fails_nothing(finished: Path, tmp_path: Path) -> None:
    facts = read_facts(RunDir.open(finished))
    assert not int8_form(facts.run, facts.reference).problem
    copy = tmp_path / "run"
    shutil.copytree(finished, copy)
    (copy / FOLDED).write_bytes(b"no model")
    missing = int8_form(RunDir.open(copy), facts.reference)
    assert missing.problem
    shown = engines(replace(facts, report=replace(facts.report, int8=missing)))
    assert [row.name for row in shown.rows] == ["latentbit", "onnxruntime fp32"]
    assert missing.problem in shown.note


def test_words_of_a_run_are_escaped(finished: Path, tmp_path: Path) -> None:
    copy = tmp_path / "<b>bold&"
    shutil.copytree(finished, copy)
    write_report(RunDir.open(copy))
    page = (copy / "report.html").read_text(encoding="utf-8")
    assert "<b>bold" not in page
    assert "&lt;b&gt;bold&amp;" in page
    drawn = curves([("<b>", [1.0, 2.0], [1.0, 0.5], BINARY, "-")], title='"<b>"', name="a")
    assert "<b>" not in drawn


def test_text_of_a_chart_is_text_in_the_colours_of_the_page() -> None:
    drawn = accuracy_way([("float stream", 0.9), ("deployed", 0.88)], (0.86, 0.9), title="way")
    assert ">90.00 %</text>" in drawn
    assert "var(--binary)" in drawn
    assert "var(--float)" in drawn
    assert "#0" not in re.sub(r"url\(#[^)]*\)|href=\"#[^\"]*\"", "", drawn)
    assert drawn == accuracy_way([("float stream", 0.9), ("deployed", 0.88)], (0.86, 0.9), title="way")
    assert curves([("loss", [1.0], [0.0], BINARY, "-")], title="one epoch without loss", name="b").count("<svg") == 1


def luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_words_stand_out_from_what_they_lie_on(theme: int) -> None:
    """A contrast of 4.5 and more: WCAG 2.2, 1.4.3."""
    blocks = re.findall(r":root \{(.*?)\}", STYLE.read_text(encoding="utf-8"), re.DOTALL)
    colours = dict(re.findall(r"--([\w-]+): (#\w{6})", blocks[theme]))
    for name in ("ink", "soft", "binary", "float", "good", "bad", "warn"):
        for ground in ("panel", "page"):
            light, dark = sorted((luminance(colours[name]), luminance(colours[ground])), reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= 4.5, (name, ground)


def test_a_screen_reader_finds_its_way(page: str) -> None:
    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            found.append((tag, dict(attrs)))

    found: list[tuple[str, dict[str, str | None]]] = []
    Reader().feed(page)

    def of(kind: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in found if tag == kind]

    identifiers = {attributes["id"] for _, attributes in found if "id" in attributes}
    assert [attributes.get("lang") for attributes in of("html")] == ["en"]
    assert (len(of("title")), len(of("main")), len(of("h1"))) == (1, 1, 1)
    assert all(nav.get("aria-label") for nav in of("nav"))
    assert len(of("section")) > 5
    assert all(section.get("aria-labelledby") in identifiers for section in of("section"))
    assert len(of("th")) > 50
    assert all(header.get("scope") in ("col", "row") for header in of("th"))
    assert len(of("caption")) == len(of("table"))
    assert all(image.get("alt") for image in of("img"))
    assert all(chart.get("aria-label") and chart.get("role") == "img" for chart in of("svg"))
    assert not [attributes for _, attributes in found if int(attributes.get("tabindex") or 0) > 0]
    assert "<dd></dd>" not in page.replace(" ", "").replace("\n", ""), "a fact without a value"


@needs_chromium
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_a_browser_shows_all_of_it(finished: Path, tmp_path: Path, width: int, dark: bool) -> None:
    seen: Seen = look_at(finished / "report.html", tmp_path, width=width, dark=dark)
    assert seen.console == []
    assert seen.sideways == 0
    assert seen.cut == []
    assert seen.smallest >= 10, "pixels: text of a chart that cannot be read on a phone"
    assert sum(int(part) for part in re.findall(r"\d+", seen.background)[:3]) < 200 or not dark
    assert sum(int(part) for part in re.findall(r"\d+", seen.background)[:3]) > 600 or dark
    assert (seen.repeated, seen.dangling, seen.unnamed, seen.fetched) == ([], [], [], [])
    assert seen.headings[0] == 1
    assert all(after - before <= 1 for before, after in zip(seen.headings, seen.headings[1:], strict=False))


@needs_chromium
def test_a_browser_that_cuts_is_noticed(finished: Path, tmp_path: Path) -> None:
    page = (finished / "report.html").read_text(encoding="utf-8")
    wide = tmp_path / "wide.html"
    wide.write_text(page.replace('<h2 id="layers-title">', '<h2 id="layers-title" style="width:900px">'))
    seen = look_at(wide, tmp_path, width=390)
    assert seen.sideways > 0
    assert any("Layers" in name for name in seen.cut)
