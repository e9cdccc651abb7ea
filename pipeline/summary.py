"""The figures of an accuracy check as rows, and as the table at the end of a run."""

import json

from rich.console import Console
from rich.table import Table

from ..runtime.errors import DataError
from ..runtime.proof.report import Agreement, CheckReport, Times
from .paths import REPORT
from .rundir import RunDir

__all__ = ["check_rows", "print_check", "read_report"]


def read_report(run: RunDir) -> CheckReport | None:
    """Return the report of the accuracy check, None where there is none or it cannot be read."""
    try:
        return CheckReport.from_json(json.loads((run.path / REPORT).read_text(encoding="utf-8")))
    except (OSError, ValueError, DataError):
        return None


def check_rows(report: CheckReport) -> list[tuple[str, str, str]]:
    """Return the figures as (name, value, what it compares), in the order in which data flow."""
    accuracy, agreement, size = report.accuracy, report.agreement, report.size_bytes
    ours, theirs = report.latency_ms.latentbit, report.latency_ms.onnxruntime_fp32
    difference = agreement.max_abs_logit_difference_unflipped
    folded = "runtime against the folded reference"
    unflipped = folded if not agreement.flipped_images else "on images without a flipped sign"
    smaller = f"{size.float / size.packed:.1f}x smaller than {size.float / 1024:.1f} KiB float"
    return [
        ("accuracy, float latent stream", _percent(accuracy.latent_test_accuracy), "test images"),
        ("accuracy, trained", _percent(accuracy.test_accuracy), "test images"),
        ("accuracy, folded", _percent(accuracy.folded), "test images"),
        ("accuracy, deployed", _percent(accuracy.deployed), f"{report.samples} reference images"),
        ("integer mismatches", str(agreement.oracle_integer_mismatches), "runtime against onnx.reference"),
        ("top-1 agreement", _percent(agreement.top1_agreement), folded),
        ("largest logit difference", "not finite" if difference is None else f"{difference:.2g}", unflipped),
        ("flipped signs", _flipped(agreement), f"in {len(agreement.flipped_signs)} binary layers"),
        ("model size", f"{size.packed / 1024:.1f} KiB", smaller),
        ("latency, latentbit", _latency(ours), "one image, median (95th percentile)"),
        ("latency, onnxruntime fp32", _latency(theirs), f"{theirs.median / ours.median:.2f}x of latentbit"),
    ]


def _flipped(agreement: Agreement) -> str:
    count = sum(agreement.flipped_signs.values())
    return f"{count} ({agreement.flipped_share:.1g})" if count else "0"


def _percent(value: float | None) -> str:
    return "none" if value is None else f"{100 * value:.2f} %"


def _latency(value: Times) -> str:
    return f"{value.median:.3f} ms ({value.p95:.3f})"


def print_check(console: Console, report: CheckReport) -> None:
    """Print the figures as a table, and whether they passed."""
    table = Table(title="accuracy check: passed" if report.passed else "accuracy check: FAILED")
    table.add_column("figure")
    table.add_column("value", justify="right")
    table.add_column("of what")
    for row in check_rows(report):
        table.add_row(*row)
    console.print(table)
