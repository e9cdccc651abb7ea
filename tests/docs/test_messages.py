"""The messages that the page of troubles explains are those of the program, word by word; … stands for a value."""

import ast
import re
from pathlib import Path

import pytest

from . import pages

CHECKOUT = Path(__file__).parents[2]
SHOWN = [
    block.code.strip()
    for block in pages.blocks((pages.DOCS / "faq.md").read_text(encoding="utf-8"))
    if block.language == "text"
]


def written(node: ast.expr) -> str:
    """Return a text of the source with … for each value in it."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(written(part) if isinstance(part, ast.Constant) else "…" for part in node.values)
    if isinstance(node, ast.BinOp):
        return written(node.left) + written(node.right)
    return "…"


@pytest.fixture(scope="module")
def texts() -> set[str]:
    """Return all texts of the program, those of parts of messages too."""
    files = [CHECKOUT / "__main__.py"]
    files += [
        path for wing in ("runtime", "export", "training", "pipeline") for path in (CHECKOUT / wing).rglob("*.py")
    ]
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in files]
    kinds = (ast.JoinedStr, ast.BinOp, ast.Constant)
    return {written(node) for tree in trees for node in ast.walk(tree) if isinstance(node, kinds)}


def pattern(message: str) -> re.Pattern[str]:
    """Return what a text must be: … for … or for words that the program puts there itself."""
    return re.compile(".*?".join(re.escape(part) for part in message.split("…")), re.S)


@pytest.mark.parametrize("message", SHOWN)
def test_a_message_is_one_of_the_program(message: str, texts: set[str]) -> None:
    assert any(pattern(message).fullmatch(text) for text in texts), message


def test_a_message_that_nobody_says_is_found_out(texts: set[str]) -> None:
    assert SHOWN
    assert not any(pattern("… is not a balloon").fullmatch(text) for text in texts)
