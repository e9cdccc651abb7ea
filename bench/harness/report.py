"""Figures to JSON and to a Markdown table, with CPU, versions, date and the command that made them."""

import datetime
import importlib.metadata
import json
import os
import sys
from pathlib import Path

import numpy as np

from latentbit.runtime.machine.environment import environment

RESULTS = Path(__file__).parents[1] / "results"
Times = dict[str, dict[str, list[float]]]


def command_line() -> str:
    """Return the command that started this program, as one types it in the checkout."""
    under = os.environ.get("BENCH_UNDER", "")  # tools/older_cpu.py
    spec = sys.modules["__main__"].__spec__  # of a module started with -m, whose argv[0] is a path of this machine
    program = ["-m", spec.name] if spec is not None else sys.argv[:1]
    return " ".join(["python", *filter(None, [under]), *program, *sys.argv[1:]])


def write_report(
    path: Path, title: str, rows: Times, ours: str, *, digits: int = 0, ratios: bool = True, ratio_digits: int = 1
) -> None:
    """Write ``path``.json and ``path``.md: median and best of each engine, and how many times ``ours`` it takes.

    rows: by row and engine the single times, all of one unit, which ``title`` names; the first row has all engines.
    """
    engines = list(next(iter(rows.values())))
    figures = {
        row: {
            name: {"median": float(np.median(v)), "best": float(np.min(v)), "runs": len(v)} for name, v in times.items()
        }
        for row, times in rows.items()
    }
    around = environment()
    for package in ("openvino", "torch", "tensorflow", "larq", "larq_compute_engine"):
        if package in sys.modules:
            around["versions"][package] = importlib.metadata.version(package)  # type: ignore[index]
    command = command_line()
    date = datetime.date.today().isoformat()
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = {"title": title, "date": date, "command": command, "environment": around, "figures": figures}
    path.with_suffix(".json").write_text(json.dumps(whole, indent=1) + "\n")
    lines = [f"| {title} | " + " | ".join(engines) + " |", "|---|" + "---|" * len(engines)]
    for row, times in figures.items():
        cells = []
        for name in engines:
            if name not in times:
                cells.append("–")
                continue
            cell = f"{times[name]['median']:.{digits}f}"
            cell += f" ({times[name]['best']:.{digits}f})" if times[name]["runs"] > 1 else ""
            if ratios and name != ours and not name.startswith("latentbit"):
                median, best = (times[name][kind] / times[ours][kind] for kind in ("median", "best"))
                cell += f", **{median:.{ratio_digits}f}×** ({best:.{ratio_digits}f}×)"
            cells.append(cell)
        lines.append(f"| {row} | " + " | ".join(cells) + " |")
    told = ", ".join(f"{name} {version}" for name, version in around["versions"].items())  # type: ignore[attr-defined]
    meaning = f"Median (best); × is how many times {ours} it takes." if ratios else "Median (best)."
    features = ", ".join(around["features"])  # type: ignore[arg-type]
    lines += ["", f"{meaning} {around['cpu']}, {around['cpus']} CPUs, {features}; {told}; {date}; `{command}`"]
    path.with_suffix(".md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))
