"""Every code block of the documentation runs as it is written.

A user's page runs whole and in order, in an empty folder. In a page of reference the Python runs as one program, beside
the model of the digits, and shell lines are only shown: they are indented there.
"""

import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from . import pages

USER = ("first_run", "concepts", "own_network", "own_images", "architecture", "raspberry_pi", "faq")
BUNDLE = Path(__file__).parents[1] / "data" / "digits.zip"


def text_of(name: str) -> str:
    return (pages.DOCS / f"{name}.md").read_text(encoding="utf-8")


def reference() -> list[str]:
    """Return the pages of reference that hold Python."""
    names = sorted(path.stem for path in pages.DOCS.glob("*.md") if path.stem not in USER)
    return [name for name in names if any(block.language == "python" for block in pages.blocks(text_of(name)))]


def cases() -> list[object]:
    return [pytest.param(name, marks=[pytest.mark.slow] * pages.is_slow(text_of(name)), id=name) for name in USER]


@pytest.fixture(scope="session")
def folder_after(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a function that gives the folder as a page leaves it; pages that go on there run the first one once."""
    done: dict[str, Path] = {}

    def folder(name: str) -> Path:
        if name not in done:
            text = text_of(name)
            place = tmp_path_factory.mktemp(name)
            if before := pages.after(text):
                shutil.copytree(folder(before.removesuffix(".md")), place, dirs_exist_ok=True)
            result = pages.perform(text, f"{name}.md", place, tmp_path_factory.mktemp(f"{name}-code"))
            assert result.returncode == 0, f"{result.stdout[-3000:]}\n{result.stderr[-3000:]}"
            done[name] = place
        return done[name]

    return folder


@pytest.mark.parametrize("name", cases())
def test_a_page_does_what_it_says(name: str, folder_after: Callable[[str], Path]) -> None:
    assert any(block.runs for block in pages.blocks(text_of(name))), f"{name}.md has no block that runs"
    folder_after(name)


@pytest.mark.parametrize("name", reference())
def test_the_examples_of_a_page_run(name: str, tmp_path: Path) -> None:
    zipfile.ZipFile(BUNDLE).extractall(tmp_path)  # pages speak of model.onnx
    # In a process of their own: an example may declare an operator, which other tests would meet.
    code = "\n".join(block.code for block in pages.blocks(text_of(name)) if block.language == "python" and block.runs)
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_few_blocks_are_excused() -> None:
    excused = [(name, block.line) for name in USER for block in pages.blocks(text_of(name)) if block.excuse]
    running = [block for name in USER for block in pages.blocks(text_of(name)) if block.runs]
    assert len(excused) <= len(running) / 3, excused


def test_a_block_that_fails_fails_its_page(tmp_path: Path) -> None:
    text = '```toml title="a/b.toml"\nx = 1\n```\n```python\ny = 2\n```\n\n'
    text += '```python\nopen("c", "w").write(str(y))\n```\n'
    text += "```bash\ncat a/b.toml c\nfalse\ntouch d\n```\n"
    (tmp_path / "here").mkdir()
    done = pages.perform(text, "page.md", tmp_path / "here", tmp_path / "scratch")
    assert (done.returncode, done.stdout) == (1, "x = 1\n2"), done.stderr
    assert done.stderr.splitlines()[-1] == "page.md, line 11"
    assert not (tmp_path / "here" / "d").exists()
