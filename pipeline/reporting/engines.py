"""The section on speed and size: this runtime beside onnxruntime, in float and in int8, on the same machine."""

from dataclasses import dataclass

from ...runtime.proof.report import Times
from .facts import Facts
from .words import milliseconds, percent, size

__all__ = ["Engine", "Engines", "engines"]


@dataclass(frozen=True)
class Engine:
    """A way to run the network; ``length`` and ``weight`` are shares of the slowest and of the largest."""

    name: str
    what: str
    time: str
    spread: str
    ratio: str
    length: float
    size: str
    weight: float
    accuracy: str
    ours: bool


@dataclass(frozen=True)
class Engines:
    """The engines, fastest last; ``note`` says what is missing and why."""

    rows: tuple[Engine, ...]
    judged: bool
    note: str
    conditions: str


def engines(facts: Facts) -> Engines:
    """Return what one image costs on each engine, and the size and accuracy of its file."""
    report, int8 = facts.report, facts.report.int8
    ours = report.latency_ms.latentbit
    entries: list[tuple[str, str, Times, int, float | None, bool]] = [
        ("latentbit", "packed file", ours, report.size_bytes.packed, report.accuracy.deployed, True),
    ]
    if int8 is not None and int8.latency_ms is not None and int8.bytes is not None:
        what = "the same network, quantised statically"
        entries.append(("onnxruntime int8", what, int8.latency_ms, int8.bytes, int8.accuracy, False))
    folded = report.accuracy.folded_on_samples
    fp32 = report.latency_ms.onnxruntime_fp32
    entries.append(("onnxruntime fp32", "the same network, float32", fp32, report.size_bytes.float, folded, False))
    slowest, largest = max(each[2].median for each in entries), max(each[3] for each in entries)
    rows = tuple(
        Engine(
            name,
            what,
            milliseconds(time),
            f"95th percentile {time.p95:.3f} ms",
            f"{time.median / ours.median:.2f}×",
            time.median / slowest,
            size(weight),
            weight / largest,
            "" if right is None else percent(right),
            own,
        )
        for name, what, time, weight, right, own in entries
    )
    note = f"There is no int8 form: {int8.problem}." if int8 is not None and int8.problem else ""
    threads = facts.run.config.run.threads
    runs, environment = facts.run.config.check.latency_runs, report.environment
    conditions = (
        f"One image at a time on {threads} thread{'s' if threads > 1 else ''} of {environment.get('cpu', 'this CPU')},"
        f" {runs} runs of each; {report.throughput:,.0f} images a second in batches."
    )
    return Engines(rows, any(row.accuracy for row in rows), note, conditions)
