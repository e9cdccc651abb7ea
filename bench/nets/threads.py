"""What a second thread gains on the binary ResNet-18, beside what the second core is worth at that moment.

    python -m bench.nets.threads [--runs 300] [--out bench/results]

By turns, in wall time: a run alone, a run shared by two threads (always: no pace that would give up), and one run each
by two sessions at once, which share nothing. On two free cores the last takes as long as the first; on a machine that
lends its second core in slices it takes up to twice as long, and then no sharing can gain. Best runs are those during
which both cores were there.
"""

import argparse
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from latentbit.runtime.proof.bench import random_feeds
from latentbit.runtime.session.session import InferenceSession

from ..harness.networks import binary_resnet18
from ..harness.report import RESULTS, write_report
from ..harness.timing import by_turns
from .resnet18 import NETWORKS


class Twin:
    """A thread that does one run when asked, beside the caller's own."""

    def __init__(self, call: Callable[[], object]) -> None:
        self._call, self._asked, self._done = call, threading.Semaphore(0), threading.Semaphore(0)
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            self._asked.acquire()
            self._call()
            self._done.release()

    def beside(self, call: Callable[[], object]) -> None:
        """Return when the caller's run and the thread's are done."""
        self._asked.release()
        call()
        self._done.acquire()


def measure(path: Path, runs: int) -> dict[str, list[float]]:
    """Return milliseconds by way of running."""

    def runner(threads: int) -> Callable[[], object]:
        session = InferenceSession(path, num_threads=threads, share="always" if threads > 1 else "auto")
        feeds = random_feeds(session)
        return lambda: session.run(None, feeds)

    alone, shared, other = runner(1), runner(2), Twin(runner(1))
    ways: dict[str, Callable[[], object]] = {
        "two threads": shared,
        "one thread": alone,
        "two sessions at once": lambda: other.beside(alone),
    }
    return by_turns(ways, runs, lambda name: time.perf_counter_ns, warm_up=5)


def main() -> None:
    """Measure every form of both networks, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=300)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    rows = {}
    with tempfile.TemporaryDirectory() as scratch:
        for name, (size, classes, forms) in NETWORKS.items():
            for form, settings in forms.items():
                path = binary_resnet18(Path(scratch) / "model.onnx", size, num_classes=classes, **settings)
                rows[f"{name}, {form}"] = measure(path, options.runs)
    title = "A run, wall time, milliseconds"
    write_report(options.out / "threads", title, rows, "two threads", digits=2, ratio_digits=2)


if __name__ == "__main__":
    main()
