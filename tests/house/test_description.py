"""What the package index shows of README: no link that leads nowhere, and the words all there."""

import re
import runpy

from .source import CHECKOUT

README = (CHECKOUT / "README.md").read_text(encoding="utf-8")
RELATIVE = re.compile(r"\]\((?!\w+:|#)")


def shown(source: str | None) -> str:
    return str(runpy.run_path(str(CHECKOUT / "setup.py"))["description"](README, source))


def test_without_an_address_links_become_words() -> None:
    assert RELATIVE.search(README)
    text = shown(None)
    assert not RELATIVE.search(text)
    assert re.sub(r"!?\[([^\]]*)\]\((?!\w+:|#)[^)]*\)|\*", r"\1", README) == text.replace("*", "")


def test_with_an_address_links_are_absolute() -> None:
    text = shown("https://host.example/owner/latentbit/")
    assert not RELATIVE.search(text)
    assert "](https://host.example/owner/latentbit/blob/HEAD/docs/zoo.md)" in text
    assert "](https://host.example/owner/latentbit/raw/HEAD/docs/images/stages.svg)" in text
