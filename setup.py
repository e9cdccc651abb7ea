"""What pyproject.toml cannot say: the package is described by README, with links that hold outside of the checkout.

The package index shows README alone, so a relative link leads nowhere there. With ``[project.urls] Source`` in
pyproject.toml, links lead to the files at that address and pictures are shown from it; that is the one setting. Without
it, links become their words and pictures their captions.
"""

import re
import tomllib
from pathlib import Path

from setuptools import setup

ROOT = Path(__file__).parent
LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!\w+:|#)([^)\s]+)\)")


def description(text: str, source: str | None) -> str:
    """Return README as the package index shows it; ``source`` is the address of the repository."""

    def link(found: re.Match[str]) -> str:
        picture, words, target = found.groups()
        if source is None:
            return f"*{words}*" if picture else words
        return f"{picture}[{words}]({source.rstrip('/')}/{'raw' if picture else 'blob'}/HEAD/{target})"

    return LINK.sub(link, text)


if __name__ == "__main__":
    urls = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"].get("urls", {})
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    setup(
        long_description=description(readme, urls.get("Source")),
        long_description_content_type="text/markdown",
        script_name="setup.py",  # which leaves this file out of the package, whose folder this is
    )
