"""The section on training: accuracy of both streams, loss and learning rate over the epochs."""

from dataclasses import dataclass

from markupsafe import Markup

from .charts import BINARY, FLOAT, Line, curves
from .facts import Facts
from .words import percent

__all__ = ["Training", "training"]

_ROWS = 12
"""Epochs in the table: the first, the last, and some between."""


@dataclass(frozen=True)
class Training:
    """``charts`` are (heading, note, drawing); ``head`` and ``rows`` tell the same as a table."""

    charts: tuple[tuple[str, str, Markup], ...]
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def training(facts: Facts) -> Training:
    """Return the curves of a run, and their figures."""
    history = facts.history
    epochs = [float(line["epoch"]) + 1 for line in history]
    charts: list[tuple[str, str, Markup]] = []
    streams = [
        (label, key, colour, style)
        for label, key, colour, style in (
            ("float stream", "latent_accuracy", FLOAT, "--"),
            ("binary network", "binary_accuracy", BINARY, "-"),
        )
        if all(key in line for line in history)
    ]
    note = "shares of the same training images, at the end of each epoch"
    if not streams and all("accuracy" in line for line in history):
        streams, note = [("training images right", "accuracy", BINARY, "-")], "training images right in each epoch"
    if len(history) == 1:
        return Training((), *_table(facts, streams))  # a point is no curve
    if streams:
        lines: list[Line] = [
            (label, epochs, [line[key] for line in history], colour, style) for label, key, colour, style in streams
        ]
        told = ", ".join(f"{label} {percent(history[-1][key], 1)}" for label, key, _, _ in streams)
        title = f"Training accuracy over {len(epochs)} epochs, at the end: {told}"
        charts.append(("Accuracy", note, curves(lines, title=title, name="accuracy", percent=True, zero=False)))
    loss = [line["loss"] for line in history]
    title = f"Loss over {len(epochs)} epochs, from {loss[0]:.3g} to {loss[-1]:.3g}"
    words = "mean over each epoch, of all terms of the objective"
    charts.append(("Loss", words, curves([("loss", epochs, loss, BINARY, "-")], title=title, name="loss")))
    if all("learning_rate" in line for line in history):
        rates = [line["learning_rate"] for line in history]
        title = f"Learning rate over {len(epochs)} epochs, at most {max(rates):.3g}, at the end {rates[-1]:.3g}"
        drawn = curves([("learning rate", epochs, rates, BINARY, "-")], title=title, name="rate")
        charts.append(("Learning rate", "of the last step of each epoch", drawn))
    return Training(tuple(charts), *_table(facts, streams))


def _table(
    facts: Facts, streams: list[tuple[str, str, str, str]]
) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """Return head and rows of a few epochs."""
    history = facts.history
    rated = "learning_rate" in history[-1]
    step = max(1, -(-len(history) // _ROWS))
    chosen = sorted({*range(0, len(history), step), len(history) - 1})
    head = ("epoch", "loss", *(label for label, *_ in streams), *(["learning rate"] if rated else []))
    rows = tuple(
        (
            str(int(line["epoch"]) + 1),
            f"{line['loss']:.4g}",
            *(percent(line.get(key)) for _, key, _, _ in streams),
            *([f"{line['learning_rate']:.3g}" if "learning_rate" in line else ""] if rated else []),
        )
        for line in (history[place] for place in chosen)
    )
    return head, rows
