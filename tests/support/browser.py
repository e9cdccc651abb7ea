"""A page as a real browser lays it out: headless Chromium, asked for what a reader would complain of."""

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from html import escape, unescape
from pathlib import Path
from typing import Any

import pytest

__all__ = ["Seen", "look_at", "needs_chromium"]

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium, as in Debian's package chromium")

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--enable-logging=stderr"),
)

ASKED = """
const page = document.querySelector("iframe").contentDocument, view = page.defaultView, root = page.documentElement;
const shown = [...page.querySelectorAll("main *")].filter(
  (e) => !e.closest(".hidden, svg") && !e.closest("thead") && e.getClientRects().length);
const name = (e) => `${e.tagName}.${e.className} ${(e.textContent || "").trim().slice(0, 40)}`;
const cut = shown.filter((e) => {
  const box = e.getBoundingClientRect(), hides = view.getComputedStyle(e).overflowX !== "visible";
  return box.left < -0.5 || box.right > view.innerWidth + 0.5 || (hides && e.scrollWidth > e.clientWidth + 1);
});
const texts = [...page.querySelectorAll("svg text")].map((e) => {
  const box = e.getBoundingClientRect(), frame = e.closest("svg").getBoundingClientRect();
  const scale = frame.width / e.closest("svg").viewBox.baseVal.width;
  return [e.textContent, parseFloat(view.getComputedStyle(e).fontSize) * scale,
    box.left < frame.left - 1 || box.right > frame.right + 1 || box.top < frame.top - 1 ||
    box.bottom > frame.bottom + 1];
});
const ids = [...page.querySelectorAll("[id]")].map((e) => e.id);
const found = {
  sideways: root.scrollWidth - root.clientWidth,
  cut: [...cut.map(name), ...texts.filter((t) => t[2]).map((t) => `text ${t[0]}`)],
  smallest: Math.min(99, ...texts.map((t) => t[1])),
  background: view.getComputedStyle(page.body).backgroundColor,
  repeated: ids.filter((id, place) => ids.indexOf(id) !== place),
  dangling: [...page.querySelectorAll('a[href^="#"]')].map((e) => e.hash.slice(1)).filter((id) => !ids.includes(id)),
  headings: [...page.querySelectorAll("h1, h2, h3")].map((e) => Number(e.tagName[1])),
  unnamed: [...page.querySelectorAll("img:not([alt]), svg:not([aria-label]), table")].filter(
    (e) => e.tagName !== "TABLE" || !e.caption || !e.caption.textContent.trim()).map(name),
  fetched: [...page.querySelectorAll("[src], link[href]")].map((e) => e.src || e.href).filter(
    (address) => !address.startsWith("data:")),
};
document.body.append(Object.assign(document.createElement("pre"), { id: "found", textContent: JSON.stringify(found) }));
"""


@dataclass(frozen=True)
class Seen:
    """What a browser found: pixels that scroll ``sideways``, what is ``cut``, the ``smallest`` text of a chart, …

    ``console`` are its messages; ``repeated`` and ``dangling`` identifiers; ``headings`` the levels in order;
    ``unnamed`` images and tables without words; ``fetched`` addresses outside the page.
    """

    console: list[str]
    sideways: int
    cut: list[str]
    smallest: float
    background: str
    repeated: list[str]
    dangling: list[str]
    headings: list[int]
    unnamed: list[str]
    fetched: list[str]


def look_at(page: Path, scratch: Path, *, width: int, dark: bool = False) -> Seen:
    """Lay a page out in a window of ``width`` pixels (in a frame: Chromium's own windows have at least 500)."""
    assert CHROMIUM is not None
    framed = scratch / "framed.html"
    text = escape(page.read_text(encoding="utf-8"))
    framed.write_text(
        '<!doctype html><meta charset="utf-8"><meta name="color-scheme" content="light dark">'
        f'<iframe style="width:{width}px;height:3000px;border:0" srcdoc="{text}"></iframe>'
        f"<script>onload = () => {{ {ASKED} }}</script>",
        encoding="utf-8",
    )
    theme = ["--blink-settings=preferredColorScheme=0"] if dark else []
    arguments = [*FLAGS, *theme, f"--user-data-dir={scratch / 'profile'}", "--window-size=1400,1000", "--dump-dom"]
    done = subprocess.run(
        [CHROMIUM, *arguments, framed.as_uri()], capture_output=True, text=True, timeout=120, check=True
    )
    answer = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.DOTALL)
    assert answer, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(unescape(answer[1]))
    return Seen([line for line in done.stderr.splitlines() if "CONSOLE" in line], **found)
