"""report.html: complete in itself, and a real browser shows it without a complaint."""

import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from latentbit.pipeline.charts import bars, curve

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


class Balance(HTMLParser):
    """Raises on a tag that closes what is not open."""

    VOID = frozenset({"meta", "img", "rect", "line", "circle", "polyline"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_complete_in_itself(finished: Path) -> None:
    page = (finished / "report.html").read_text(encoding="utf-8")
    reader = Balance()
    reader.feed(page)
    assert reader.open == []
    sources = re.findall(r'(?:src|href)="([^"]{0,40})', page)
    assert sources
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert "url(" not in page
    assert "@import" not in page
    assert "<script" not in page
    assert "prefers-color-scheme: dark" in page


def test_the_page_holds_figures_layers_classes_and_images(finished: Path) -> None:
    page = (finished / "report.html").read_text(encoding="utf-8")
    for words in (
        "accuracy check passed",
        "deployed",
        "blocks.0.conv",
        "Accuracy by class",
        "train.epochs",
        "fused operators",
    ):
        assert words.lower() in page.lower(), words
    assert page.count("<figure") == 24


def test_text_of_a_run_is_escaped() -> None:
    assert "<b>" not in bars([("<b>", 0.5, "<b>")])
    assert "<b>" not in curve([1.0, 0.5], title="<b>")


def test_a_chart_stays_within_its_frame() -> None:
    lengths = [
        float(width) for width in re.findall(r'class="bar".*?width="([\d.]+)"', bars([("a", 7.0, ""), ("b", -1.0, "")]))
    ]
    assert lengths == [570.0, 0.0]
    assert curve([0.0], title="one epoch without loss").count("<circle") == 1


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
@pytest.mark.parametrize("dark", [False, True])
def test_a_browser_shows_it(finished: Path, tmp_path: Path, dark: bool) -> None:
    assert CHROMIUM is not None
    picture = tmp_path / "page.png"
    theme = ["--blink-settings=preferredColorScheme=0"] if dark else []
    done = subprocess.run(
        [
            CHROMIUM,
            *FLAGS,
            *theme,
            f"--user-data-dir={tmp_path / 'profile'}",
            "--window-size=1000,1400",
            "--enable-logging=stderr",
            f"--screenshot={picture}",
            (finished / "report.html").as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert "CONSOLE" not in done.stderr
    from PIL import Image

    with Image.open(picture) as shown:
        corner = np.asarray(shown.convert("L"))[5, 5]
        assert shown.size == (1000, 1400)
        assert len(shown.convert("RGB").getcolors(1 << 20) or []) > 50
    assert (corner < 80) if dark else (corner > 200)
