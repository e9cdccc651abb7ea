"""The tables at the end of a run: the figures of ``report.json``, and the stages of a run."""

import json
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from .conductor import Plan
from .rundir import RunDir
from .stages import REPORT

__all__ = ["check_rows", "print_check", "print_stages", "read_report"]


def read_report(run: RunDir) -> dict[str, Any] | None:
    """Return the report of the accuracy check, None where there is none or it cannot be read."""
    try:
        value = json.loads((run.path / REPORT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def check_rows(report: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Return the figures as (name, value, what it compares), in the order in which data flow."""
    accuracy, agreement = report["accuracy"], report["agreement"]
    size, latency = report["size_bytes"], report["latency_ms"]
    ours, theirs = latency["latentbit"], latency["onnxruntime_fp32"]
    flipped, difference = agreement["flipped_signs"], agreement["max_abs_logit_difference_unflipped"]
    folded = "runtime against the folded reference"
    unflipped = folded if not agreement["flipped_images"] else "on images without a flipped sign"
    smaller = f"{size['float'] / size['packed']:.1f}x smaller than {size['float'] / 1024:.1f} KiB float"
    return [
        ("accuracy, float latent stream", _percent(accuracy["latent_stream"]), "test images"),
        ("accuracy, trained", _percent(accuracy["training"]), "test images"),
        ("accuracy, folded", _percent(accuracy["folded"]), "test images"),
        ("accuracy, deployed", _percent(accuracy["deployed"]), f"{report['samples']} reference images"),
        ("integer mismatches", str(agreement["oracle_integer_mismatches"]), "runtime against onnx.reference"),
        ("top-1 agreement", _percent(agreement["top1_agreement"]), folded),
        ("largest logit difference", "not finite" if difference is None else f"{difference:.2g}", unflipped),
        ("flipped signs", _flipped(agreement), f"in {len(flipped)} binary layers"),
        ("model size", f"{size['packed'] / 1024:.1f} KiB", smaller),
        ("latency, latentbit", _latency(ours), "one image, median (95th percentile)"),
        ("latency, onnxruntime fp32", _latency(theirs), f"{theirs['median'] / ours['median']:.2f}x of latentbit"),
    ]


def _flipped(agreement: dict[str, Any]) -> str:
    count = sum(agreement["flipped_signs"].values())
    return f"{count} ({agreement['flipped_share']:.1g})" if count else "0"


def _percent(value: float | None) -> str:
    return "none" if value is None else f"{100 * value:.2f} %"


def _latency(value: dict[str, float]) -> str:
    return f"{value['median']:.3f} ms ({value['p95']:.3f})"


def print_check(console: Console, report: dict[str, Any]) -> None:
    """Print the figures as a table, and whether they passed."""
    table = Table(title="accuracy check: passed" if report["passed"] else "accuracy check: FAILED")
    table.add_column("figure")
    table.add_column("value", justify="right")
    table.add_column("of what")
    for row in check_rows(report):
        table.add_row(*row)
    console.print(table)


def print_stages(console: Console, run: RunDir, plans: Sequence[Plan]) -> None:
    """Print the stages of a run: fresh or why not, and how long each took."""
    table = Table(title=str(run.path))
    table.add_column("stage")
    table.add_column("state")
    table.add_column("seconds", justify="right")
    for plan in plans:
        record = run.stages.get(plan.stage.name)
        seconds = f"{record.seconds:.1f}" if record is not None and record.finished else ""
        table.add_row(plan.stage.name, plan.reason or "fresh", seconds)
    console.print(table)
