"""Pictures of results: paired gains of an ablation, t-SNE of features. Needs matplotlib (extra ``train``)."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...runtime.errors import MissingExtraError
from ...runtime.files import write_bytes
from .results import BUDGETS, Row, paired_gains

__all__ = ["plot_ablation", "plot_embeddings"]


def _figure(columns: int, width: float, height: float) -> tuple[Any, Any]:
    """Return a figure and its axes ``[columns]`` that need no display."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError("plots need matplotlib: pip install 'latentbit[train]'") from None
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(1, columns, squeeze=False)[0]


def _save(figure: Any, path: Path) -> None:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    write_bytes(path, buffer.getvalue())


def plot_ablation(rows: Sequence[Row], records: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draw the paired gain of every variant with its standard error, at both budgets, and each seed as a dot."""
    budgets = list(dict.fromkeys(row.budget for row in rows))
    figure, axes = _figure(len(budgets), 1.5 + 4 * len(budgets), 3.6)
    baseline = rows[0].variant
    for axis, budget in zip(axes, budgets, strict=True):
        shown = [row for row in rows if row.budget == budget and row.variant != baseline]
        for place, row in enumerate(shown):
            error = None if np.isnan(row.gain_error) else [[row.gain_error], [row.gain_error]]
            axis.errorbar([place], [row.gain], yerr=error, fmt="o", color="C0", capsize=4)
            dots = paired_gains(records, baseline, row.variant, budget)
            axis.plot([place + 0.15] * len(dots), dots, ".", color="0.6")
        axis.axhline(0, color="0.3", linewidth=0.8)
        axis.set_xticks(range(len(shown)), [row.variant for row in shown], rotation=20, ha="right")
        axis.set_xlim(-0.5, len(shown) - 0.5)
        axis.set_title(f"equal {BUDGETS[budget]}")
        axis.set_ylabel(f"gain over {baseline}, points")
    _save(figure, path)


def plot_embeddings(
    embeddings: Mapping[str, NDArray[np.floating[Any]]], labels: NDArray[np.int64], classes: Sequence[str], path: Path
) -> None:
    """Draw two-dimensional points ``[N, 2]`` side by side, coloured by their label."""
    figure, axes = _figure(len(embeddings), 4.2 * len(embeddings) + 1.4, 4.2)
    for axis, (title, points) in zip(axes, embeddings.items(), strict=True):
        for label in np.unique(labels):
            chosen = points[labels == label]
            axis.plot(chosen[:, 0], chosen[:, 1], ".", markersize=3, label=classes[label], color=f"C{label % 10}")
        axis.set_title(title)
        axis.set_xticks([])
        axis.set_yticks([])
    if len(classes) <= 20:
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right upper", markerscale=3)
    _save(figure, path)
