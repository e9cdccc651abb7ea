"""What a run costs over its segments: the checks of what is fed, the way to the buffers, the copies of the outputs.

    python -m bench.nets.overhead [MODEL ...] [--runs 3000]

A run on one image and one thread, and its segments alone, one after another: compiled kernels, and onnxruntime for
float parts. The difference is the cost. Times are those of this thread, by turns; the table has the median of many runs
and the best. MODEL is a path or zoo:NAME; without one, small models of the zoo.
"""

import argparse
from statistics import median
from time import thread_time_ns

from latentbit.runtime import InferenceSession
from latentbit.runtime.machine.environment import environment
from latentbit.runtime.proof.bench import random_feeds
from latentbit.runtime.zoo.catalogue import find_model

SMALL = ("zoo:digits", "zoo:fashion_mnist_resnet8")


def measure(model: str, runs: int) -> tuple[list[float], list[float], int]:
    """Return microseconds of runs and of their segments alone, and how many segments there are."""
    session = InferenceSession(find_model(model))
    feeds = random_feeds(session)
    session.run(None, feeds)
    segments = next(iter(session._free.values()))[0]._bound  # as that run has left them, with the same feeds
    whole, inside = [], []
    for turn in range(-20, runs):
        start = thread_time_ns()
        session.run(None, feeds)
        middle = thread_time_ns()
        for segment in segments:
            segment.run()
        end = thread_time_ns()
        if turn >= 0:
            whole.append((middle - start) / 1e3)
            inside.append((end - middle) / 1e3)
    return whole, inside, len(segments)


def main() -> None:
    """Measure the models and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("models", nargs="*", default=SMALL)
    parser.add_argument("--runs", type=int, default=3000)
    options = parser.parse_args()
    about = environment()
    print(f"{options.runs} runs; {about['cpu']}; {about['versions']}\n")
    print("| model | run, µs | its segments, µs | the rest, µs |\n|---|---|---|---|")
    for model in options.models:
        whole, inside, count = measure(model, options.runs)
        rest = [one - other for one, other in zip(whole, inside, strict=True)]
        shown = " | ".join(f"{median(values):.1f} ({min(values):.1f})" for values in (whole, inside))
        print(f"| {model}, {count} segments | {shown} | {median(rest):.1f} ({min(whole) - min(inside):.1f}) |")


if __name__ == "__main__":
    main()
