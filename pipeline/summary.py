"""The figures of an accuracy check as rows, and as the table at the end of a run."""

from rich.console import Console
from rich.table import Table

from ..runtime.errors import DataError
from ..runtime.files import parse_json
from ..runtime.proof.report import Agreement, CheckReport, Times
from .paths import REPORT
from .rundir import RunDir

__all__ = ["check_rows", "print_check", "read_report"]


def read_report(run: RunDir) -> CheckReport | None:
    """Return the report of the accuracy check, None where there is none or it cannot be read."""
    try:
        return CheckReport.from_json(parse_json((run.path / REPORT).read_text(encoding="utf-8")))
    except (OSError, ValueError, DataError):
        return None


def check_rows(report: CheckReport) -> list[tuple[str, str, str]]:
    """Return the figures as (name, value, what it compares), in the order in which data flow."""
    accuracy, agreement, size = report.accuracy, report.agreement, report.size_bytes
    ours, theirs = report.latency_ms.latentbit, report.latency_ms.onnxruntime_fp32
    smaller = f"{size.float / size.packed:.1f}x smaller than {size.float / 1024:.1f} KiB float"
    return [
        *(_accuracy_rows(report) if accuracy.deployed is not None else []),
        *_metric_rows(report),
        ("integer mismatches", str(agreement.oracle_integer_mismatches), "runtime against onnx.reference"),
        *_output_rows(agreement),
        ("flipped signs", _flipped(agreement), f"in {len(agreement.flipped_signs)} binary layers"),
        ("model size", f"{size.packed / 1024:.1f} KiB", smaller),
        ("latency, latentbit", _latency(ours), "one image, median (95th percentile)"),
        ("latency, onnxruntime fp32", _latency(theirs), f"{theirs.median / ours.median:.2f}x of latentbit"),
    ]


def _accuracy_rows(report: CheckReport) -> list[tuple[str, str, str]]:
    accuracy = report.accuracy
    return [
        ("accuracy, float latent stream", _percent(accuracy.latent_test_accuracy), "test images"),
        ("accuracy, trained", _percent(accuracy.test_accuracy), "test images"),
        ("accuracy, folded", _percent(accuracy.folded), "test images"),
        ("accuracy, deployed", _percent(accuracy.deployed), f"{report.samples} reference images"),
    ]


def _metric_rows(report: CheckReport) -> list[tuple[str, str, str]]:
    """Return the figures of the user's metric: a row for each figure and what it was measured on."""
    measured = {
        "trained": ("trained", "test data"),
        "folded": ("folded", "test data"),
        "folded_on_samples": ("folded", f"{report.samples} reference samples"),
        "deployed": ("deployed", f"{report.samples} reference samples"),
    }
    return [
        (f"{name}, {where}", f"{value:.4g}", what)
        for key, (where, what) in measured.items()
        for name, value in report.metrics.get(key, {}).items()
    ]


def _output_rows(agreement: Agreement) -> list[tuple[str, str, str]]:
    """Return what the outputs of the runtime are worth beside those of the folded reference."""
    folded = "runtime against the folded reference"
    unflipped = folded if not agreement.flipped_images else "on images without a flipped sign"
    rows = []
    if agreement.top1_agreement is not None:
        difference = _difference(agreement.max_abs_logit_difference_unflipped)
        rows += [
            ("top-1 agreement", _percent(agreement.top1_agreement), folded),
            ("largest logit difference", difference, unflipped),
        ]
        return rows
    for name, output in agreement.outputs.items():
        largest = "" if output.largest_value is None else f", largest value {output.largest_value:.3g}"
        difference = _difference(output.max_abs_difference_unflipped)
        rows.append((f"largest difference of {name}", difference, f"{unflipped}{largest}"))
        if output.psnr is not None:
            rows.append((f"PSNR of {name}", f"{output.psnr:.1f} dB", f"{folded}, lowest of all samples"))
    return rows


def _difference(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.2g}"


def _flipped(agreement: Agreement) -> str:
    count = sum(agreement.flipped_signs.values())
    return f"{count} ({agreement.flipped_share:.1g})" if count else "0"


def _percent(value: float | None) -> str:
    return "none" if value is None else f"{100 * value:.2f} %"


def _latency(value: Times) -> str:
    return f"{value.median:.3f} ms ({value.p95:.3f})"


def print_check(console: Console, report: CheckReport) -> None:
    """Print the figures as a table, whether they passed, and what that means."""
    table = Table(title="accuracy check: passed" if report.passed else "accuracy check: FAILED")
    table.title_style = "bold green" if report.passed else "bold red"
    table.add_column("figure")
    table.add_column("value", justify="right")
    table.add_column("of what")
    for row in check_rows(report):
        table.add_row(*row)
    console.print(table)
    console.print(report.meaning)
