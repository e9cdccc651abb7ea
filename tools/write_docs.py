"""Put tables of bench/results into the pages of :data:`PAGES` (or the pages named), and figures into :data:`QUOTES`.

    python tools/write_docs.py [PAGE …]

A mark is a pair of comments, ``<!-- table NAME -->`` and ``<!-- end NAME -->``; what stands between them is replaced by
bench/results/NAME.md. A row of a page of QUOTES that begins with a network of docs/networks.md gets the share of packed
work and the speed that stand there.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "bench" / "results"
PAGES = tuple(ROOT / "docs" / f"{name}.md" for name in ("convert", "performance", "measurements", "results"))
QUOTES = (ROOT / "docs" / "architecture.md",)


def quoted(text: str) -> str:
    """Return a page with the figures of docs/networks.md in the second and third cell of each network's row."""
    networks = (ROOT / "docs" / "networks.md").read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in networks.splitlines() if line.startswith("| ")]
    figures = {cells[0]: (cells[1], cells[5].rsplit(", ", 1)[-1]) for cells in rows if "×**" in cells[-2]}

    def row(found: re.Match[str]) -> str:
        packed, speed = figures[found.group(1)]
        return f"| {found.group(1)} | {packed} | {speed} |"

    return re.sub(r"^\| (\w+, [\d×]+) \|[^|]*\|[^|]*\|", row, text, flags=re.MULTILINE)


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
    for page in () if sys.argv[1:] else QUOTES:
        page.write_text(quoted(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
