"""Charts of the report: matplotlib draws them as SVG whose text stays text, in the colours of the page's theme.

Each is as wide as a phone's screen and is shown at about that size everywhere, so that its text has the size of text.
matplotlib knows no CSS: it is given colours that nothing else uses, and these become the variables of the style sheet.
"""

import io
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup, escape
from numpy.typing import NDArray

__all__ = ["BINARY", "FLOAT", "Line", "accuracy_way", "curves", "points"]

_WIDTH = 340
_INK, _SOFT, _GRID, _PANEL = "#010101", "#020202", "#030303", "#040404"
BINARY, FLOAT = "#050505", "#060606"
_VARIABLES = {
    **{_INK: "--ink", _SOFT: "--soft", _GRID: "--line", _PANEL: "--panel", BINARY: "--binary", FLOAT: "--float"},
    **{f"#07070{number}": f"--class-{number}" for number in range(10)},
}
_STYLE: Any = {
    **{"svg.fonttype": "none", "svg.hashsalt": "latentbit", "font.size": 12, "font.family": "DejaVu Sans"},
    **{"axes.edgecolor": _GRID, "axes.labelcolor": _SOFT, "text.color": _INK, "axes.facecolor": "none"},
    **{"xtick.color": _GRID, "ytick.color": _GRID, "xtick.labelcolor": _SOFT, "ytick.labelcolor": _SOFT},
    **{"axes.spines.top": False, "axes.spines.right": False, "grid.color": _GRID, "lines.linewidth": 2.2},
    **{"xtick.labelsize": 11, "ytick.labelsize": 11, "xtick.major.size": 0, "ytick.major.size": 0},
}

Line = tuple[str, Sequence[float], Sequence[float], str, str]
"""Name, x, y, a colour (:data:`BINARY` or :data:`FLOAT`) and the line's style: none is known by its colour alone."""


def accuracy_way(rows: Sequence[tuple[str, float]], interval: tuple[float, float] | None, *, title: str) -> Markup:
    """Return the accuracies of a network's forms, from training to the device, on a scale that shows differences.

    rows: (name, fraction); the first that is named "float …" has the colour of the float stream.
    interval: of the last of them, two fractions.
    """

    def paint(axes: Any) -> None:
        places = list(range(len(rows)))
        shares = [100 * share for _, share in rows]
        ends = [100 * end for end in interval] if interval else []
        low, high = min(*shares, *ends, 100), max(*shares, *ends, 0)
        margin = max(0.22 * (high - low), 0.4)
        axes.set_xlim(low - margin, min(high + margin, 100 + margin / 3))
        axes.set_ylim(len(rows) - 0.45, -0.7)
        if ends:
            axes.axvspan(*ends, color=BINARY, alpha=0.1, linewidth=0)
        axes.plot(shares, places, color=_SOFT, linewidth=1.2, zorder=2)
        for place, ((name, _), share) in enumerate(zip(rows, shares, strict=True)):
            stream = name.startswith("float")
            axes.plot(
                [share], [place], marker="D" if stream else "o", markersize=9 if stream else 10, zorder=3,
                color=FLOAT if stream else BINARY, markeredgecolor=_PANEL, markeredgewidth=2,
            )  # fmt: skip
            left = share > sum(axes.get_xlim()) / 2
            axes.annotate(
                f"{share:.2f} %", (share, place), (-11 if left else 11, 0), textcoords="offset points",
                ha="right" if left else "left", va="center", fontsize=12,
            )  # fmt: skip
        axes.set_yticks(places, [name for name, _ in rows], color=_INK, fontsize=12)
        axes.grid(axis="x")
        axes.spines[:].set_visible(False)
        axes.xaxis.set_major_locator(_few(5))
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g} %" if value <= 100 else "")

    return _draw(paint, 46 + 38 * len(rows), title, "way")


def curves(lines: Sequence[Line], *, title: str, name: str, percent: bool = False, zero: bool = True) -> Markup:
    """Return lines over the epochs, each with its name at its end."""

    def paint(axes: Any) -> None:
        factor = 100 if percent else 1
        for label, x, y, colour, style in lines:
            values = [factor * value for value in y]
            axes.plot(x, values, color=colour, linestyle=style, label=label)
            axes.plot(x[-1:], values[-1:], marker="D" if style != "-" else "o", markersize=6, color=colour)
        everything = [factor * value for _, _, y, _, _ in lines for value in y]
        low, high = (0.0 if zero else min(everything)), max(everything)
        spread = (high - low) or 1.0
        axes.set_ylim(low - (0 if zero else 0.06 * spread), high + 0.08 * spread)
        axes.grid(axis="y")
        axes.spines["left"].set_visible(False)
        axes.xaxis.set_major_locator(_few(5, whole=True))
        axes.yaxis.set_major_locator(_few(4))
        axes.set_xlabel("epoch", fontsize=11, loc="right", labelpad=1)
        if percent:
            axes.yaxis.set_major_formatter(lambda value, _: f"{value:g} %")
        if len(lines) > 1:
            axes.legend(frameon=False, fontsize=11, handlelength=2.2, loc="best")

    return _draw(paint, 215, title, name)


def points(places: NDArray[Any], labels: NDArray[np.int64], classes: Sequence[str], *, title: str, name: str) -> Markup:
    """Return points ``[N, 2]`` coloured by their class, with the name of each class in the middle of its points."""

    def paint(axes: Any) -> None:
        shown = np.unique(labels)
        for label in shown:
            own = places[labels == label]
            colour, marker = f"#07070{label % 10}", "osD^v"[label % 5]
            axes.plot(own[:, 0], own[:, 1], marker, markersize=3.4, color=colour, markeredgewidth=0, alpha=0.85)
        if len(shown) <= 20:
            import matplotlib.patheffects as effects

            halo = [effects.withStroke(linewidth=3.5, foreground=_PANEL)]
            for label in shown:
                x, y = np.median(places[labels == label], axis=0)
                axes.text(x, y, classes[label], ha="center", va="center", fontsize=12.5, path_effects=halo)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_visible(False)

    return _draw(paint, 330, title, name)


def _few(count: int, *, whole: bool = False) -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(count, integer=whole, steps=[1, 2, 5, 10])


def _draw(paint: Callable[[Any], None], height: int, title: str, name: str) -> Markup:
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH / 72, height / 72), layout="constrained")
        FigureCanvasSVG(figure)
        paint(figure.subplots())
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata=dict.fromkeys(_UNSAID))
    return _inline(buffer.getvalue(), height, title, name)


_UNSAID = ("Creator", "Date", "Format", "Type")
"""Metadata that would only make the page longer."""


def _inline(svg: str, height: int, title: str, name: str) -> Markup:
    """Return an SVG file as an element of a page: no header, its own identifiers, the page's font and colours."""
    body = svg[svg.index(">", svg.index("<svg")) + 1 : svg.rindex("</svg>")]
    for pattern, new in _REPLACED:
        body = re.sub(pattern, new, body, flags=re.DOTALL)
    for colour, variable in _VARIABLES.items():
        body = body.replace(colour, f"var({variable})")
    body = _identify(body, name)
    head = f'<svg class="chart" viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{escape(title)}">'
    return Markup(f"{head}{body}</svg>")


_REPLACED: Sequence[tuple[str, str]] = (
    (r"<metadata>.*?</metadata>", ""),
    (r"<style.*?</style>", ""),
    (r"<!--.*?-->", ""),
    (r"font: ((?:[\w.]+ )*?)([\d.]+)px [^;\"]*", r"font-size: \2px"),
    (r"\n\s*", "\n"),
)


def _identify(body: str, name: str) -> str:
    """Drop the identifiers that nothing refers to, and put the chart's name before the others."""
    used: Mapping[str, str] = {found: f"{name}-{found}" for found in re.findall(r'(?:href="|url\()#([\w-]+)', body)}
    body = re.sub(r' id="([\w.-]+)"', lambda m: f' id="{used[m[1]]}"' if m[1] in used else "", body)
    return re.sub(r'((?:href="|url\()#)([\w-]+)', lambda m: f"{m[1]}{used[m[2]]}", body)
