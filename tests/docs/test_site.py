"""The site builds without a warning, holds the API, fetches nothing from elsewhere, and fits a phone."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import latentbit.export
import latentbit.runtime
import latentbit.training

pytest.importorskip("mkdocs", reason="mkdocs builds the site: tox -e docs")

ROOT = Path(__file__).parents[2]
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
WIDTHS = (390, 1280)

# Once all frames have loaded, says which of them would scroll sideways.
MEASURE = """<body>FRAMES<script>
onload = () => {
  const frames = [...document.querySelectorAll("iframe")];
  const wide = frames.filter(frame => frame.contentDocument.documentElement.scrollWidth > frame.clientWidth);
  const names = wide.map(frame => frame.clientWidth + " " + frame.src.split("/").slice(-2).join("/"));
  document.body.textContent = "measured " + frames.length + " " + JSON.stringify(names);
};
</script></body>"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


def pages(site: Path) -> list[Path]:
    return [path for path in sorted(site.rglob("*.html")) if path.name != "404.html"]


@pytest.mark.parametrize(
    "wing", [latentbit.training, latentbit.export, latentbit.runtime], ids=lambda wing: wing.__name__
)
def test_every_public_name_has_its_place_in_the_api(wing: ModuleType, site: Path) -> None:
    name, names = wing.__name__, wing.__all__
    text = (site / "api" / f"{name.rsplit('.', 1)[-1]}.html").read_text(encoding="utf-8")
    assert [one for one in names if f'id="{name}.{one}"' not in text] == []


def test_nothing_of_sphinx_is_left_in_the_api(site: Path) -> None:
    for path in (site / "api").glob("*.html"):
        assert not re.search(r":(class|func|data|mod|meth):", path.read_text(encoding="utf-8")), path.name


def test_readers_find_every_page_and_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    assert len(pages(site)) > 30
    found = json.loads((site / "search" / "search_index.json").read_text(encoding="utf-8"))["docs"]
    assert {entry["location"].split("#")[0] for entry in found} >= {"first_run.html", "api/training.html", "index.html"}
    for path in pages(site):
        text = path.read_text(encoding="utf-8")
        assert not re.findall(r"<(?:script|img|iframe)[^>]+src=\"?(?:https?:)?//", text), path
        assert not re.findall(r"<link[^>]+stylesheet[^>]+href=\"?(?:https?:)?//", text), path


@pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")
def test_no_page_scrolls_sideways(site: Path, tmp_path: Path) -> None:
    listed = [path.relative_to(site).as_posix() for path in pages(site)]
    sheet = site / "measure.html"
    for start in range(0, len(listed), 10):
        sizes = [(page, width) for page in listed[start : start + 10] for width in WIDTHS]
        style = "height:800px;border:0"
        frames = [f'<iframe src="{page}" style="width:{width}px;{style}"></iframe>' for page, width in sizes]
        sheet.write_text(MEASURE.replace("FRAMES", "".join(frames)), encoding="utf-8")
        command = [str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files"]
        command += [f"--user-data-dir={tmp_path}", "--window-size=1300,900", "--dump-dom", f"file://{sheet}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert f"measured {len(sizes)} []" in done.stdout, done.stdout[-500:] + done.stderr[-500:]
    sheet.unlink()
