"""Where the time of the binary ResNet-18 goes, and what is left once it only counts.

    python -m bench.nets.breakdown [--runs 40] [--out bench/results]

Every step is timed on its own (one thread, CPU time, caches warm from the run before) and put into a group: the
stem, float shortcuts, packing of floats, binary layers, head. The binary layers run once more without their epilogue,
which leaves the counting: a kernel's own limit, what no fusion can pass.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from latentbit.runtime.proof.bench import random_feeds
from latentbit.runtime.session.session import InferenceSession

from ..harness.networks import binary_resnet18
from ..harness.report import RESULTS, write_report
from ..harness.timing import milliseconds
from .resnet18 import NETWORKS

GROUPS = ("stem", "float shortcuts", "packing", "binary layers", "head")


def group_of(name: str, before: bool) -> str:
    """Return the group of a step by its name; ``before``: no binary layer has run yet."""
    if name.endswith((":pack", ":pair_image")):
        return "packing" if name.endswith(":pack") else "binary layers"
    if name.startswith("stem") or (before and "conv" not in name):
        return "stem"
    if name.startswith("head"):
        return "head"
    return "float shortcuts" if ".shortcut.1" in name else "binary layers"


def counting(session: InferenceSession, feeds: dict[str, np.ndarray], runs: int) -> list[float]:
    """Return milliseconds of all binary layers without their epilogue."""
    times = (session.profile(feeds, counting_only=True, clock=time.thread_time_ns) for _ in range(runs))
    return [sum(step.duration for step in steps) / 1e3 for steps in times]


def measure(path: Path, runs: int) -> dict[str, list[float]]:
    """Return milliseconds by group, of the counting alone, and of a whole run."""
    session = InferenceSession(path)
    feeds = random_feeds(session)
    times: dict[str, list[float]] = {name: [] for name in (*GROUPS, "counting alone", "whole run")}
    for turn in range(-3, runs):
        steps = session.profile(feeds, clock=time.thread_time_ns)
        whole = milliseconds(lambda: session.run(None, feeds))
        if turn < 0:
            continue
        sums, before = dict.fromkeys(GROUPS, 0.0), True
        for step in steps:
            group = group_of(step.name, before)
            before = before and group != "binary layers"
            sums[group] += step.duration / 1e3
        for name, value in sums.items():
            times[name].append(value)
        times["whole run"].append(whole)
    times["counting alone"] = counting(session, feeds, runs)
    return times


def main() -> None:
    """Measure every form of both networks, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=40)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    rows = {}
    with tempfile.TemporaryDirectory() as scratch:
        for name, (size, classes, forms) in NETWORKS.items():
            for form, settings in forms.items():
                path = binary_resnet18(Path(scratch) / "model.onnx", size, num_classes=classes, **settings)
                rows[f"{name}, {form}"] = measure(path, options.runs)
    title = "Where a run goes, one thread, milliseconds"
    write_report(options.out / "breakdown", title, rows, "whole run", digits=2, ratios=False)


if __name__ == "__main__":
    main()
