"""The section on layers: what runs packed and what in float, why, on which kernel, how exact, and how long."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .facts import Facts
from .words import count

__all__ = ["Layer", "Layers", "layers"]

_FORMS = {"binary": "packed", "integer": "integers", "float": "float"}


@dataclass(frozen=True)
class Layer:
    """A step of the runtime in words; what is not known is empty.

    ``share`` is its time as a fraction of the longest; ``margin`` tells how near to their thresholds the values
    of flipped signs are.
    """

    name: str
    ops: str
    form: str
    why: str
    kernel: str
    macs: str
    time: str
    share: float
    exact: str
    flips: str
    margin: str


@dataclass(frozen=True)
class Layers:
    """The steps in the order in which they run, and what they come to."""

    rows: tuple[Layer, ...]
    timed: bool
    packed: int
    summary: str


def layers(facts: Facts) -> Layers:
    """Return the steps of the session that ran the model."""
    times = [step.get("microseconds") for step in facts.steps]
    known = [time for time in times if time is not None]
    total = sum(known) if known and len(known) == len(times) else 0.0
    rows = tuple(_row(facts, step, max(known) if total else 0.0) for step in facts.steps)
    return Layers(rows, total > 0, sum(row.form == "packed" for row in rows), _summary(facts, total))


def _row(facts: Facts, step: Mapping[str, Any], longest: float) -> Layer:
    agreement, name = facts.report.agreement, step["name"]
    named = step.get("nodes") or (name,)
    found = [facts.layers[node] for node in named if node in facts.layers]
    macs = None if any(layer.macs is None for layer in found) else sum(layer.macs or 0 for layer in found)
    microseconds = step.get("microseconds") if longest else None
    mismatches, flips = agreement.integer_mismatches.get(name), agreement.flipped_signs.get(name)
    margin = agreement.flip_margins.get(name)
    return Layer(
        name,
        _ops(step["ops"]),
        _FORMS[step["kind"]],
        _why(step, found),
        step["kernel"],
        count(macs) if macs else "",
        "" if microseconds is None else f"{microseconds:,.0f} µs" if microseconds >= 10 else f"{microseconds:.1f} µs",
        0.0 if microseconds is None else microseconds / longest,
        "" if mismatches is None else f"{mismatches:,} wrong" if mismatches else "exact",
        "" if flips is None else f"{flips:,}",
        "" if margin is None else f"at most {margin:.1g} off",
    )


def _ops(names: list[str]) -> str:
    """Return the operators of a step in order, repeated ones counted where there are many."""
    if len(names) <= 6:
        return " · ".join(names)
    counted = {name: names.count(name) for name in names}
    return " · ".join(name if number == 1 else f"{number}× {name}" for name, number in counted.items())


def _why(step: Mapping[str, Any], found: list[Any]) -> str:
    """Return why a step runs as it does: the plan's reason, or what the layers in it say of their weights."""
    if step["kind"] == "binary":
        return "weights and inputs are ±1" + (f"; kernel: {step['reason']}" if step["reason"] != "first choice" else "")
    if step["kind"] == "integer":
        return "pixels times int8 weights, summed as integers"
    if step["reason"]:
        return str(step["reason"])
    if not found:
        return "no weights in it"
    return "its weights are real" if any("real" in layer.reason for layer in found) else found[-1].reason


def _summary(facts: Facts, total: float) -> str:
    """Return in a sentence which part of the work is binary, and which part of the time that takes."""
    known = [layer for layer in facts.layers.values() if layer.macs is not None]
    everything = sum(layer.macs or 0 for layer in known)
    if not everything or len(known) < len(facts.layers):
        return ""
    binary = sum(layer.macs or 0 for layer in known if layer.form == "binary") / everything
    text = f"{100 * binary:.1f} % of {count(everything)} multiply-adds are binary"
    if total:
        spent = sum(step["microseconds"] for step in facts.steps if step["kind"] == "binary") / total
        text += f" and take {100 * spent:.0f} % of the time"
    return f"{text}."
