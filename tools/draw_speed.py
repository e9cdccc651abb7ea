"""Draw README's chart of speed from the figures that ``bench.nets.resnet18`` stored.

    python tools/draw_speed.py [RESULT.json [PICTURE.svg]]

Needs matplotlib (extra ``train``). Text stays text, so that it can be read aloud, searched, and compared by a test.
"""

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULT = ROOT / "bench" / "results" / "zen4" / "resnet18-224-threads1-batch1.json"
PICTURE = ROOT / "docs" / "images" / "speed.svg"
FORMS = {"latentbit, exact": "latentbit, exact stem", "latentbit, 7×7 float stem": "latentbit, float stem"}
"""The forms that are drawn. The other engines have the float stem; their times are those beside the first form."""
INK, OTHER, OWN = "#57606a", "#8c959f", "#2a6fbb"
"""Greys and a blue that can be read on white and on black: a picture on a page does not know the page's theme."""


def bars(result: dict[str, Any]) -> list[tuple[str, float]]:
    """Return (engine, median in milliseconds) of each form of ours and each other engine, the fastest first."""
    figures = result["figures"]
    medians = {name: figures[form]["latentbit"]["median"] for form, name in FORMS.items()}
    others = figures[next(iter(FORMS))]
    medians |= {engine: timing["median"] for engine, timing in others.items() if engine != "latentbit"}
    return sorted(medians.items(), key=lambda bar: bar[1])


def label(time: float, fastest: float) -> str:
    """Return what stands beside a bar."""
    return f"{time:.2f} ms" if time == fastest else f"{time:.2f} ms ({time / fastest:.1f}×)"


def draw(result: dict[str, Any], target: Path) -> None:
    """Write horizontal bars, each with its milliseconds and how many times the first they are."""
    import matplotlib
    from matplotlib.figure import Figure

    settings = {"svg.fonttype": "none", "svg.hashsalt": "latentbit", "font.family": "sans-serif", "text.color": INK}
    with matplotlib.rc_context(settings):
        found = bars(result)
        own = found[0][1]
        figure = Figure(figsize=(8, 2.6), layout="constrained")
        axes = figure.subplots()
        names = [name for name, _ in found][::-1]
        times = [time for _, time in found][::-1]
        axes.barh(names, times, color=[OWN if name in FORMS.values() else OTHER for name in names], height=0.62)
        for place, time in enumerate(times):
            axes.text(time, place, f"  {label(time, own)}", va="center", fontsize=11)
        axes.set_xlim(0, 1.2 * max(times))
        axes.set_xticks([])
        axes.tick_params(axis="y", length=0, labelsize=11, labelcolor=INK)
        axes.spines[:].set_visible(False)
        figure.savefig(target, format="svg", transparent=True, metadata={"Date": None})


def main() -> None:
    """Draw the files named, or README's."""
    given = [Path(name) for name in sys.argv[1:]]
    source, target = (*given, *(RESULT, PICTURE)[len(given) :])
    draw(json.loads(source.read_text(encoding="utf-8")), target)
    print(target)


if __name__ == "__main__":
    main()
