"""Fill docs/results.md and methods.md from the logs of docs/results and the cards of the zoo, and draw the charts.

    python tools/write_results.py

A mark is a pair of comments, ``<!-- results NAME -->`` and ``<!-- end NAME -->``; what stands between them is replaced:

* ``answers``: a row for each log of index.toml that compares L1 with none.
* ``zoo``: a row for each classifier of the zoo.
* ``twins``: three rows for each line of twins/twins.jsonl: the packed file, and its float twin in int8 and in float32.
* ``blocks``, ``inclusion``: what bench.blocks and bench.inclusion measured; ``shift`` what bench.shift did.
* the name of a log: its table. Logs that the page has no mark for are put under ``other logs``.

Needs matplotlib (extra ``train``).
"""

import json
import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

from latentbit.runtime import zoo
from latentbit.training.data.corruptions import CORRUPTIONS
from latentbit.training.studies.results import Row, render, summarise

ROOT = Path(__file__).parents[1]
PAGE, METHODS = ROOT / "docs" / "results.md", ROOT / "docs" / "methods.md"
LOGS = ROOT / "docs" / "results"
PICTURE = ROOT / "docs" / "images" / "results.svg"
TWINS = LOGS / "twins" / "twins.jsonl"
TWINS_PICTURE = ROOT / "docs" / "images" / "twins.svg"
MARK = re.compile(r"<!-- results ([^>]+?) -->.*?<!-- end \1 -->", re.DOTALL)
SERIES = {"epochs": ("equal epochs", "#2a6fbb"), "longer": ("both 1.5 × epochs", "#7fb2e5"),
          "compute": ("equal compute", "#8c959f")}  # fmt: skip
"""What is drawn, with its colour: greys and blues that can be read on white and on black."""
INK = "#57606a"
STYLE = {"svg.fonttype": "none", "svg.hashsalt": "latentbit", "font.family": "sans-serif", "text.color": INK}
FORMS = {"binary": ("packed, binary", "o", "#2a6fbb"), "int8": ("float twin in int8", "s", "#bf8700"),
         "fp32": ("float twin in float32", "D", "#8c959f")}  # fmt: skip
"""The forms of a network, with what a reader is told, marker and colour."""


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


def twins() -> list[dict[str, Any]]:
    """Return the lines of the models beside their float twins, in the order of their accuracy."""
    lines = [json.loads(line) for line in TWINS.read_text(encoding="utf-8").splitlines()]
    return sorted(lines, key=lambda line: float(line["binary"]["accuracy"]))


def twins_table() -> str:
    """Return the table of the models beside their float twins."""
    head = ("network", "form", "accuracy, %", "time, ms", "size, KiB")
    rows = [
        [
            line["model"].removeprefix("zoo:") if form == "binary" else "",
            title,
            f"{100 * line[form]['accuracy']:.2f}",
            f"{line[form]['cpu_ms']['median']:.3f}",
            f"{line[form]['bytes'] / 1024:,.1f}",
        ]
        for line in twins()
        for form, (title, *_) in FORMS.items()
    ]
    return markdown(head, rows)


def blocks_table() -> str:
    """Return the table of what kinds of blocks cost."""
    found = json.loads((LOGS / "blocks" / "cost.json").read_text(encoding="utf-8"))["costs"]
    rows = [
        [f"`{name.replace('=', ' = ')}`", str(one["packed"]), f"{one['bytes'] / 1024:,.1f}", f"{one['cpu_ms']:.3f}"]
        for name, one in found.items()
    ]
    return markdown(("option", "packed layers", "size, KiB", "time, ms"), rows)


def inclusion_table() -> str:
    """Return the table of weights that could be left out, a row a prior."""
    rows = []
    for line in (LOGS / "inclusion" / "digits.jsonl").read_text(encoding="utf-8").splitlines():
        one = json.loads(line)
        cells = [f"{one['prior']:g}", *(f"{100 * one[key]:.2f}" for key in ("kept_of_all", "before", "after"))]
        cells += [f"{one['bytes'][form] / 1024:,.1f}" for form in ("signs", "ternary")]
        rows.append([*cells, *(f"{one['cpu_ms'][form]:.3f}" for form in ("signs", "ternary"))])
    head = ("prior inclusion", "weights kept, %", "accuracy with all, %", "with those kept, %", "size with all, KiB",
            "with those kept, KiB", "time with all, ms", "with those kept, ms")  # fmt: skip
    return markdown(head, rows)


def shift_table() -> str:
    """Return the table of accuracies under corruptions, the mean over the seeds of each training."""
    lines = [json.loads(line) for line in (LOGS / "shift" / "cifar10.jsonl").read_text(encoding="utf-8").splitlines()]
    kinds = [kind for kind in CORRUPTIONS if kind in lines[0]]
    rows = []
    for name in dict.fromkeys(line["name"] for line in lines):
        own = [line for line in lines if line["name"] == name]
        means = [fmean(line[kind] for line in own) for kind in kinds]
        shown = (fmean(line["clean"] for line in own), fmean(means), *means)
        rows.append([name, str(len(own)), *(f"{100 * share:.1f}" for share in shown)])
    return markdown(("training", "seeds", "clean", "all corruptions", *(k.replace("_", " ") for k in kinds)), rows)


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
    known: dict[str, Callable[[], str]] = {
        "answers": answers, "zoo": models, "twins": twins_table, "blocks": blocks_table, "inclusion": inclusion_table,
        "shift": shift_table, "other logs": lambda: others(page),
    }  # fmt: skip

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
    with matplotlib.rc_context(STYLE):
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


def draw_twins(target: Path) -> None:
    """Draw accuracy over time and over size: a line a network, a marker for each of its forms."""
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter

    panels = {
        "one image, one thread, ms": lambda form: form["cpu_ms"]["median"],
        "size of the file, KiB": lambda form: form["bytes"] / 1024,
    }
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8, 4), layout="constrained")
        for axes, (label, value) in zip(figure.subplots(1, 2, sharey=True), panels.items(), strict=True):
            for line in twins():
                points = [(value(line[form]), 100 * line[form]["accuracy"]) for form in FORMS]
                axes.plot(*zip(*points, strict=True), color=INK, linewidth=0.8, alpha=0.6)
                below = points[1][1] > points[0][1]  # where no line goes
                axes.annotate(
                    line["model"].removeprefix("zoo:"), points[0], (0, -7 if below else 7), textcoords="offset points",
                    va="top" if below else "bottom", ha="left", fontsize="small",
                )  # fmt: skip
                for form, point in zip(FORMS, points, strict=True):
                    _, marker, colour = FORMS[form]
                    axes.plot(*point, marker, color=colour)
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
            axes.xaxis.set_major_formatter(FormatStrFormatter("%g"))
            axes.xaxis.set_minor_formatter(NullFormatter())
            axes.set_xlabel(label, color=INK)
            axes.margins(x=0.1, y=0.1)
            axes.tick_params(labelcolor=INK, color=INK)
            axes.spines[:].set_visible(False)
            axes.grid(alpha=0.25)
        figure.axes[0].set_ylabel("test images answered right, %", color=INK)
        for title, marker, colour in FORMS.values():
            figure.axes[0].plot([], [], marker, color=colour, label=title)
        figure.legend(loc="outside upper center", ncols=len(FORMS), frameon=False)
        figure.savefig(target, format="svg", transparent=True, metadata={"Date": None})


def main() -> None:
    """Fill the page and draw the pictures."""
    for page in (PAGE, METHODS):
        page.write_text(filled(page.read_text(encoding="utf-8")), encoding="utf-8")
    draw(PICTURE)
    draw_twins(TWINS_PICTURE)
    print(f"{PAGE}\n{PICTURE}\n{TWINS_PICTURE}")


if __name__ == "__main__":
    main()
