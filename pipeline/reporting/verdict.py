"""The head of the page: the verdict in words, the figures that matter most, and the way of the accuracy."""

from dataclasses import dataclass

from markupsafe import Markup

from ...runtime.proof.report import Accuracy, CheckReport, confidence_interval
from .charts import accuracy_way
from .facts import Facts
from .words import milliseconds, percent, points, size, small

__all__ = ["Card", "Verdict", "verdict"]


@dataclass(frozen=True)
class Card:
    """A figure in large type, what it is, and what it is beside."""

    value: str
    name: str
    note: str


@dataclass(frozen=True)
class Verdict:
    """``state`` is passed, weak (the network is hardly better than guessing) or failed; ``way`` rows are (name, …)."""

    state: str
    title: str
    sign: str
    meaning: str
    failures: tuple[str, ...]
    cards: tuple[Card, ...]
    chart: Markup | None
    way: tuple[tuple[str, str, str, str], ...]
    beside: str
    metrics: tuple[tuple[str, ...], tuple[tuple[str, ...], ...]] | None


def verdict(facts: Facts) -> Verdict:
    """Return what the head of the page says."""
    report = facts.report
    state = "failed" if not report.passed else "weak" if report.guesses else "passed"
    title = {
        "passed": "Accuracy check passed",
        "weak": "Accuracy check passed, but the network is hardly better than guessing",
        "failed": "Accuracy check failed",
    }[state]
    interval = _interval(report)
    rows = _forms(report.accuracy)
    chart = None
    if report.accuracy.deployed is not None:
        told = "; ".join(f"{name} {percent(share)}" for name, share, _ in rows)
        chart = accuracy_way([(name, share) for name, share, _ in rows], interval, title=f"Accuracy: {told}")
    return Verdict(
        state,
        title,
        {"passed": "✓", "weak": "!", "failed": "✗"}[state],
        report.meaning,
        report.failures,
        tuple(_cards(report, interval)),
        chart,
        _way(report, rows),
        _beside(facts, interval),
        _metrics(report),
    )


def _interval(report: CheckReport) -> tuple[float, float] | None:
    deployed = report.accuracy.deployed
    return None if deployed is None else confidence_interval(deployed, report.samples)


def _forms(found: Accuracy) -> list[tuple[str, float, str]]:
    """Return the forms of the network whose accuracy is known: (name, share, of what)."""
    rows = (
        ("float stream", found.latent_test_accuracy, "all test images"),
        ("trained", found.test_accuracy, "all test images"),
        ("folded", found.folded, "all test images"),
        ("deployed", found.deployed, "reference images"),
    )
    return [(name, share, what) for name, share, what in rows if share is not None]


def _way(report: CheckReport, rows: list[tuple[str, float, str]]) -> tuple[tuple[str, str, str, str], ...]:
    """Return the same in words; the deployed network is compared with the folded one on the same images."""
    found, before = [], None
    for name, share, what in rows:
        same = report.accuracy.folded_on_samples if name == "deployed" else before
        step = "" if same is None else points(share - same)
        found.append((name, percent(share), step, what))
        before = share
    return tuple(found)


def _cards(report: CheckReport, interval: tuple[float, float] | None) -> list[Card]:
    accuracy, agreement, latency, sizes = report.accuracy, report.agreement, report.latency_ms, report.size_bytes
    if accuracy.deployed is not None and interval is not None:
        low, high = (percent(end, 1) for end in interval)
        first = Card(percent(accuracy.deployed), "accuracy, deployed", f"95% interval {low} to {high}")
    elif report.metrics.get("deployed"):
        name, value = next(iter(report.metrics["deployed"].items()))
        first = Card(f"{value:.4g}", f"{name}, deployed", f"{report.samples:,} reference samples")
    else:
        largest = small(agreement.max_abs_logit_difference_unflipped)
        first = Card(largest, "largest difference of outputs", f"{report.samples:,} reference samples")
    exact = Card(
        str(agreement.oracle_integer_mismatches),
        "wrong integers",
        f"of {agreement.oracle_integers_compared:,} compared with the oracle",
    )
    theirs = latency.onnxruntime_fp32
    ratio = theirs.median / latency.latentbit.median
    return [
        first,
        exact,
        Card(milliseconds(latency.latentbit), "one image, median", f"{ratio:.1f}× as fast as onnxruntime fp32"),
        Card(size(sizes.packed), "model file", f"{sizes.float / sizes.packed:.1f}× smaller than with float weights"),
    ]


_MEASURED = (
    ("trained", "trained", "all test data"),
    ("folded", "folded", "all test data"),
    ("folded_on_samples", "folded", "reference samples"),
    ("deployed", "deployed", "reference samples"),
)


def _metrics(report: CheckReport) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]] | None:
    """Return the figures of the user's metric as head and rows of a table, None where there is no metric."""
    if not report.metrics:
        return None
    names = list(dict.fromkeys(name for found in report.metrics.values() for name in found))
    rows = [
        (form, *(f"{found[name]:.4g}" if name in found else "" for name in names), what)
        for key, form, what in _MEASURED
        if (found := report.metrics.get(key))
    ]
    return ("form", *names, "of what"), tuple(rows)


def _beside(facts: Facts, interval: tuple[float, float] | None) -> str:
    """Return what an accuracy has to be seen beside: guessing, and how many images it was measured on."""
    report = facts.report
    if interval is None:
        return ""
    classes, majority = facts.reference.logits.shape[1], report.accuracy.majority
    text = f"Guessing among {classes} classes gets {percent(1 / classes, 1)}"
    if majority is not None:
        text += f", and always naming the commonest one {percent(majority, 1)}"
    low, high = (percent(end, 1) for end in interval)
    return f"{text}. On {report.samples:,} images the true accuracy lies between {low} and {high}, 19 times out of 20."
