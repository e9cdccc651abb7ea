"""Results of an ablation: accuracies of runs, means over seeds, paired gains, a table."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from ...runtime.metrics import current_names

__all__ = ["BUDGETS", "Row", "paired_gains", "render", "summarise"]

BUDGETS = {"epochs": "epochs", "compute": "compute", "longer": "1.5 × epochs"}
"""What is equal between a variant and the baseline, and how a table calls it."""


@dataclass(frozen=True)
class Row:
    """A variant's figures over all seeds; accuracies in percent, standard errors beside them (NaN for one seed).

    ``budget`` is one of :data:`BUDGETS`: as many epochs as the baseline, as many as cost the baseline's time, or 1.5
    times as many, of the baseline too. ``gain`` is the mean paired difference to the baseline, of those that train
    longer to the baseline that trains longer, and of that one to its own shorter run. ``cost`` is the time of a step
    in the baseline's.
    """

    variant: str
    budget: str
    seeds: int
    epochs: int
    accuracy: float
    error: float
    gain: float
    gain_error: float
    latent_accuracy: float | None
    cost: float
    seconds: float


def accuracy_of(record: Mapping[str, Any]) -> float:
    """Return the percentage of right answers of a run: on the test images, or on those held out if it has none."""
    return 100.0 * float(_either(record, "test_accuracy", "validation_accuracy"))


def latent_accuracy_of(record: Mapping[str, Any]) -> float | None:
    """Return the same of the latent stream, None if the run has no such stream."""
    value = _either(record, "latent_test_accuracy", "latent_validation_accuracy")
    return None if value is None else 100.0 * float(value)


def _either(record: Mapping[str, Any], first: str, second: str) -> Any:
    found = current_names(record)
    return found[first] if found[first] is not None else found[second]


def mean_and_error(values: Sequence[float]) -> tuple[float, float]:
    """Return the mean and its standard error (NaN for one value)."""
    return fmean(values), stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan


def paired_gains(records: Sequence[Mapping[str, Any]], baseline: str, variant: str, budget: str) -> list[float]:
    """Return the differences in points between the runs of a variant and those that :class:`Row` compares them with."""
    own = {r["seed"]: accuracy_of(r) for r in records if (r["variant"], r["budget"]) == (variant, budget)}
    longer = budget == "longer" and variant != baseline
    known = {
        r["seed"]: accuracy_of(r)
        for r in records
        if (r["variant"], r["budget"]) == (baseline, "longer" if longer else "epochs")
    }
    return [value - known[seed] for seed, value in own.items() if seed in known]


def summarise(records: Sequence[Mapping[str, Any]], variants: Sequence[str], budgets: Sequence[str]) -> list[Row]:
    """Return a row per variant and budget; the baseline has none at equal compute."""
    rows = []
    for budget in budgets:
        for variant in variants:
            runs = [r for r in records if (r["variant"], r["budget"]) == (variant, budget)]
            if not runs:
                continue
            accuracy, error = mean_and_error([accuracy_of(r) for r in runs])
            gain, gain_error = mean_and_error(paired_gains(records, variants[0], variant, budget))
            latent = [value for r in runs if (value := latent_accuracy_of(r)) is not None]
            seconds = fmean(float(r["seconds"]) for r in runs)
            rows.append(
                Row(variant, budget, len(runs), runs[0]["epochs"], accuracy, error, gain, gain_error,
                    fmean(latent) if latent else None, runs[0]["cost"], seconds)
            )  # fmt: skip
    return rows


def render(rows: Sequence[Row]) -> str:
    """Return the rows as a Markdown table."""
    lines = [
        "| variant | equal | seeds | epochs | accuracy, % | paired gain | latent stream, % | step cost | seconds |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for number, row in enumerate(rows):
        gain = "–" if number == 0 else f"{row.gain:+.2f} ± {row.gain_error:.2f}"
        latent = "–" if row.latent_accuracy is None else f"{row.latent_accuracy:.2f}"
        lines.append(
            f"| {row.variant} | {BUDGETS[row.budget]} | {row.seeds} | {row.epochs} |"
            f" {row.accuracy:.2f} ± {row.error:.2f} | {gain} | {latent} | {row.cost:.2f} | {row.seconds:.0f} |"
        )
    return "\n".join(lines) + "\n"
