"""Long use, measured by ``python -m latentbit.tests.support.soak [--runs 1000000] [--loads 1000] [--threads 4]``.

Threads share one session and compare each answer, bit for bit, with the first one; then a session is opened, run and
dropped again and again. What the process grows by is told, and how long a call took.
"""

import argparse
import json
import threading
from dataclasses import asdict, dataclass
from time import perf_counter

import numpy as np

from latentbit.runtime import InferenceSession, zoo

from .hunt import say

__all__ = ["Inferences", "Loads", "infer", "load"]

_INPUTS = 16


@dataclass(frozen=True)
class Inferences:
    """Runs, threads, answers that differ, growth in bytes behind the first tenth, and times of a call in µs."""

    runs: int
    threads: int
    wrong: int
    growth: int
    median: float
    p99: float
    p9999: float
    longest: float


@dataclass(frozen=True)
class Loads:
    """Sessions that were opened, wrong answers, growth in bytes behind the first tenth, and ms of a cycle."""

    loads: int
    wrong: int
    growth: int
    median: float
    p99: float


def resident() -> int:
    """Return the bytes that this process holds (Linux)."""
    with open("/proc/self/status", encoding="ascii") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmRSS"))


def infer(name: str, runs: int, threads: int) -> Inferences:
    """Run a model of the zoo ``runs`` times by ``threads`` threads on one session."""
    session = InferenceSession(zoo.path(name))
    info = session.get_inputs()[0]
    shape = [size if isinstance(size, int) else 1 for size in info.shape]
    rng = np.random.default_rng(0)
    feeds = [{info.name: rng.standard_normal(shape).astype(np.float32)} for _ in range(_INPUTS)]
    truth = [session.run(None, each)[0].tobytes() for each in feeds]
    seconds = np.ones((threads, runs // threads))  # touched: no page of it comes while memory is measured
    wrong, early = [0] * threads, [0]

    def work(thread: int) -> None:
        for turn in range(seconds.shape[1]):
            start = perf_counter()
            (answer,) = session.run(None, feeds[turn % _INPUTS])
            seconds[thread, turn] = perf_counter() - start
            wrong[thread] += answer.tobytes() != truth[turn % _INPUTS]
            if not thread and turn == seconds.shape[1] // 10:
                early[0] = resident()

    workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    growth = resident() - early[0]
    found = 1e6 * seconds.reshape(-1)
    times = (float(np.percentile(found, share)) for share in (50, 99, 99.99, 100))
    return Inferences(found.size, threads, sum(wrong), growth, *times)


def load(name: str, loads: int) -> Loads:
    """Open a model of the zoo, run it and drop it, ``loads`` times."""
    path = zoo.path(name)
    seconds, wrong, early, truth = [], 0, 0, b""
    for turn in range(loads):
        start = perf_counter()
        session = InferenceSession(path)
        info = session.get_inputs()[0]
        image = np.ones([size if isinstance(size, int) else 1 for size in info.shape], np.float32)
        answer = session.run(None, {info.name: image})[0].tobytes()
        seconds.append(1e3 * (perf_counter() - start))
        truth = truth or answer
        wrong += answer != truth
        del session  # one that is open when the next is opened would share with it, and nothing would be opened
        if turn == loads // 10:
            early = resident()
    return Loads(loads, wrong, resident() - early, *(float(np.percentile(seconds, share)) for share in (50, 99)))


def main() -> None:
    """Measure, and print JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--model", default="digits")
    parser.add_argument("--runs", type=int, default=1_000_000)
    parser.add_argument("--loads", type=int, default=1000)
    parser.add_argument("--threads", type=int, default=4)
    options = parser.parse_args()
    say(json.dumps(asdict(infer(options.model, options.runs, options.threads))))
    say(json.dumps(asdict(load(options.model, options.loads))))


if __name__ == "__main__":
    main()
