"""Fill docs/results.md from the logs of docs/results and the cards of the zoo, and draw its chart.

    python tools/write_results.py

A mark is a pair of comments, ``<!-- results NAME -->`` and ``<!-- end NAME -->``; what stands between them is replaced:

* ``answers``: a row for each log of index.toml that compares L1 with none.
* ``zoo``: a row for each classifier of the zoo.
* the name of a log: its table. Logs that the page has no mark for are put under ``other logs``.

Needs matplotlib (extra ``train``).
"""

import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path

from latentbit.runtime import zoo
from latentbit.training.studies.results import Row, render, summarise

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "results.md"
LOGS = ROOT / "docs" / "results"
PICTURE = ROOT / "docs" / "images" / "results.svg"
MARK = re.compile(r"<!-- results ([^>]+?) -->.*?<!-- end \1 -->", re.DOTALL)
SERIES = {"epochs": ("equal epochs", "#2a6fbb"), "longer": ("both 1.5 × epochs", "#7fb2e5"),
          "compute": ("equal compute", "#8c959f")}  # fmt: skip
"""What is drawn, with its colour: greys and blues that can be read on white and on black."""
INK = "#57606a"


def index() -> dict[str, dict[str, str]]:
    """Return what is said of each log, by its name."""
    return tomllib.loads((LOGS / "index.toml").read_text(encoding="utf-8"))


def rows_of(name: str) -> list[Row]:
    """Return the rows of a log's table."""
    records = [json.loads(line) for line in (LOGS / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]
    variants = list(dict.fromkeys(record["variant"] for record in records))
    return summarise(records, variants, list(dict.fromkeys(record["budget"] for record in records)))


def compared() -> dict[str, Mapping[tuple[str, str], Row]]:
    """Return the rows, by variant and budget, of each log that compares L1 with none, by its title."""
    found = {
        entry["title"]: {(row.variant, row.budget): row for row in rows_of(name)} for name, entry in index().items()
    }
    return {title: rows for title, rows in found.items() if {("none", "epochs"), ("L1", "epochs")} <= rows.keys()}


def answers() -> str:
    """Return the table of the first answer."""
    head = ("data, network, schedule", "none, %", "L1, %", "gain of L1", "gain at equal compute", "step cost of L1",
            "none, 1.5 × epochs")  # fmt: skip
    lines = []
    for title, rows in compared().items():
        none, own = rows["none", "epochs"], rows["L1", "epochs"]
        cells = [title, f"{none.accuracy:.2f} ± {none.error:.2f}", f"{own.accuracy:.2f} ± {own.error:.2f}"]
        cells += [gain(own), gain(rows.get(("L1", "compute"))), f"{own.cost:.2f}", gain(rows.get(("none", "longer")))]
        lines.append(cells)
    return markdown(head, lines)


def gain(row: Row | None) -> str:
    """Return a paired gain with its standard error, a dash where it was not measured."""
    return "–" if row is None else f"{row.gain:+.2f} ± {row.gain_error:.2f}"


def models() -> str:
    """Return the table of the zoo's classifiers, the most accurate of each data set first."""
    head = ("network, data", "packed file, %", "its latent stream, %", "size, KiB", "with float32 weights, KiB",
            "latency, ms", "onnxruntime, fp32, ms")  # fmt: skip
    cards = [zoo.card(name) for name in zoo.names()]
    cards = [card for card in cards if card.accuracy.get("deployed") is not None]
    lines = []
    for card in sorted(cards, key=lambda card: (card.data, -float(card.accuracy["deployed"] or 0))):
        latent = card.accuracy.get("latent_test_accuracy")
        images = f" (of {card.reference_images:,})" if card.reference_images < card.test_images else ""
        own, other = (card.latency_ms[engine]["median"] for engine in ("latentbit", "onnxruntime_fp32"))
        lines.append(
            [
                f"{card.network}, {card.data}",
                f"{100 * float(card.accuracy['deployed'] or 0):.2f}{images}",
                "–" if latent is None else f"{100 * latent:.2f}",
                *(f"{card.size_bytes[kind] / 1024:,.1f}" for kind in ("packed", "float")),
                f"{own:.2f}",
                f"{other:.2f}",
            ]
        )
    return markdown(head, lines)


def markdown(head: tuple[str, ...], lines: list[list[str]]) -> str:
    """Return a table in Markdown."""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *lines))


def others(page: str) -> str:
    """Return a section for each log of the index that has no mark in the page."""
    own = {found.group(1) for found in MARK.finditer(page)}
    parts = [
        f"### {entry['title']}\n\nLog: [{name}.jsonl](results/{name}.jsonl).\n\n    {entry['command']}\n\n"
        f"{render(rows_of(name))}"
        for name, entry in index().items()
        if name not in own
    ]
    return "\n".join(parts).strip()


def filled(page: str) -> str:
    """Return the page with every mark filled."""
    known = {"answers": answers, "zoo": models, "other logs": lambda: others(page)}

    def fill(found: re.Match[str]) -> str:
        name = found.group(1)
        text = known[name]() if name in known else render(rows_of(name)).strip()
        return f"<!-- results {name} -->\n{text}\n<!-- end {name} -->"

    return MARK.sub(fill, page)


def draw(target: Path) -> None:
    """Draw the paired gains of L1 over none with their standard errors, a line a log."""
    import matplotlib
    from matplotlib.figure import Figure

    found = list(compared().items())[::-1]
    settings = {"svg.fonttype": "none", "svg.hashsalt": "latentbit", "font.family": "sans-serif", "text.color": INK}
    with matplotlib.rc_context(settings):
        figure = Figure(figsize=(8, 1.1 + 0.75 * len(found)), layout="constrained")
        axes = figure.subplots()
        for number, (budget, (name, colour)) in enumerate(SERIES.items()):
            shown = [(place, rows["L1", budget]) for place, (_, rows) in enumerate(found) if ("L1", budget) in rows]
            if not shown:
                continue
            heights = [place + 0.25 * (1 - number) for place, _ in shown]
            gains, errors = [row.gain for _, row in shown], [row.gain_error for _, row in shown]
            axes.errorbar(gains, heights, xerr=errors, fmt="o", color=colour, capsize=3, label=name)
            for height, (_, row) in zip(heights, shown, strict=True):
                axes.annotate(
                    gain(row), (row.gain + row.gain_error, height), (6, 0), textcoords="offset points", va="center"
                )
        axes.axvline(0, color=INK, linewidth=0.8)
        axes.set_yticks(range(len(found)), [title for title, _ in found])
        axes.set_ylim(-0.6, len(found) - 0.4)
        low, high = axes.get_xlim()
        axes.set_xlim(low, high + 0.25 * (high - low))  # room for the figures
        axes.set_xlabel("points gained by L1 over none, ± standard error", color=INK)
        axes.tick_params(length=0, labelcolor=INK)
        axes.spines[:].set_visible(False)
        figure.legend(loc="outside upper center", ncols=len(SERIES), frameon=False)
        figure.savefig(target, format="svg", transparent=True, metadata={"Date": None})


def main() -> None:
    """Fill the page and draw the picture."""
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    draw(PICTURE)
    print(f"{PAGE}\n{PICTURE}")


if __name__ == "__main__":
    main()
