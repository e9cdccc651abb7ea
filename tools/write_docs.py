"""Put the tables of bench/results into the pages of :data:`PAGES` (or the pages named).

    python tools/write_docs.py [PAGE …]

A mark is a pair of comments, ``<!-- table NAME -->`` and ``<!-- end NAME -->``; what stands between them is replaced by
bench/results/NAME.md.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "bench" / "results"
PAGES = tuple(ROOT / "docs" / f"{name}.md" for name in ("convert", "performance", "measurements", "results"))


def filled(text: str) -> str:
    """Return a page with every mark filled."""

    def table(found: re.Match[str]) -> str:
        name = found.group(1)
        return f"<!-- table {name} -->\n{(RESULTS / f'{name}.md').read_text().strip()}\n<!-- end {name} -->"

    return re.sub(r"<!-- table (\S+) -->.*?<!-- end \1 -->", table, text, flags=re.DOTALL)


def main() -> None:
    """Fill the pages named, or all."""
    for page in [Path(name) for name in sys.argv[1:]] or PAGES:
        page.write_text(filled(page.read_text()))
        print(f"{page}: {page.read_text().count('<!-- table ')} tables")


if __name__ == "__main__":
    main()
