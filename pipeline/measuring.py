"""What the stages measure for the report alone: the time of each step, and the same network in int8."""

import statistics
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ..runtime.errors import first_line
from ..runtime.proof.report import Int8
from .paths import FOLDED, MODEL
from .rundir import RunDir

if TYPE_CHECKING:
    from ..runtime.proof.reference import Reference
    from ..runtime.session.session import InferenceSession

__all__ = ["int8_form", "step_figures"]

_VERSION = 2
"""Of steps.json: 1 had no times."""
_PROFILED = 20
"""Runs of which the median is taken."""


def step_figures(session: "InferenceSession", reference: "Reference") -> dict[str, Any]:
    """Return the content of steps.json: each step of the session, with its ``microseconds`` on one image in one thread.

    They are medians; together they are less than the time of a call, which also copies its inputs and outputs.
    """
    from ..runtime.proof.answers import timed_feeds
    from ..runtime.session.profile import summed

    feeds = timed_feeds(session, reference.inputs)
    session.run(None, feeds)
    runs = [summed(session.profile(feeds)) for _ in range(_PROFILED)]
    times = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
    steps = [asdict(info) | {"microseconds": times.get(info.name)} for info in session.get_steps()]
    return {"version": _VERSION, "steps": steps}


def int8_form(run: RunDir, reference: "Reference") -> Int8:
    """Return what the same network costs and gets in int8 on stock onnxruntime, made from the folded file."""
    try:
        return _int8_form(run, reference)
    except Exception as error:  # whatever fails inside another tool is no failure of this network
        return Int8(problem=first_line(error))


def _int8_form(run: RunDir, reference: "Reference") -> Int8:
    from ..runtime.proof.answers import timed_feeds
    from ..runtime.proof.original import open_original
    from ..runtime.proof.timing import interleaved, times
    from ..runtime.session.session import InferenceSession

    threads = run.config.run.threads
    session = InferenceSession(run.path / MODEL, num_threads=threads)
    feeds = timed_feeds(session, reference.inputs)
    original = open_original(run.path / FOLDED, session, feeds, reference)
    runner = original.runners(threads)["original int8"]
    (first,) = map(original.prepare, feeds.values())
    measured = interleaved({"int8": lambda: runner.answer(first)}, run.config.check.latency_runs)
    accuracy = runner.accuracy(reference) if reference.class_scores else None
    return Int8(times(measured["int8"]), len(original.files["original int8"]), accuracy)
