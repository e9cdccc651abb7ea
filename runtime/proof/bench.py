"""Benchmark of a user's model on a user's machine: this runtime beside others, by turns in one process."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from os import PathLike, fspath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import CheckFailed, ConfigError
from ..intake.source import read_bytes
from ..machine.environment import environment
from ..session.session import InferenceSession
from .oracle import layer_oracle
from .original import Runner, labelled, open_original
from .peers import PEERS
from .reference import Reference
from .report import Times
from .timing import interleaved, times

__all__ = ["BenchReport", "BenchRow", "bench", "random_feeds"]


@dataclass(frozen=True)
class BenchRow:
    """The times of an engine with a number of threads; ``ratio`` is its median over that of latentbit.

    ``accuracy`` is the share of right answers on the reference, None without one or for an engine that only times.
    """

    engine: str
    threads: int
    times: Times
    ratio: float
    accuracy: float | None = None


@dataclass(frozen=True)
class BenchReport:
    """What was timed (``model``: its path, or ``bytes``), how often, on how many images at a time, and where."""

    model: str
    batch: int
    runs: int
    results: tuple[BenchRow, ...]
    environment: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Return plain values; a result is ``{engine, threads, median, p95, best, p99, ratio, accuracy}``."""
        rows = [
            {
                "engine": row.engine,
                "threads": row.threads,
                **asdict(row.times),
                "ratio": row.ratio,
                "accuracy": row.accuracy,
            }
            for row in self.results
        ]
        return {**asdict(self), "results": rows}


def random_feeds(session: InferenceSession, batch: int = 1, seed: int = 0) -> dict[str, NDArray[Any]]:
    """Return random arrays that fit the inputs of a session (the first symbolic axis becomes ``batch``, others 1)."""
    rng = np.random.default_rng(seed)
    feeds: dict[str, NDArray[Any]] = {}
    for info in session.get_inputs():
        shape = [size if isinstance(size, int) else (1 if axis else batch) for axis, size in enumerate(info.shape)]
        if info.type == "tensor(uint8)":
            feeds[info.name] = rng.integers(0, 256, shape, np.uint8)
        elif info.type == "tensor(float)":
            feeds[info.name] = rng.standard_normal(shape).astype(np.float32)
        else:
            raise ConfigError(f"bench can make up float and uint8 inputs, not {info.type} for {info.name}")
    return feeds


def bench(
    model: str | PathLike[str] | bytes,
    *,
    peers: Sequence[str] = ("onnxruntime",),
    threads: Sequence[int] = (1,),
    runs: int = 100,
    batch: int = 1,
    original: str | PathLike[str] | bytes | None = None,
    reference: Reference | str | PathLike[str] | None = None,
) -> BenchReport:
    """Time one batch of random data through the model, here and on every peer, for each number of threads.

    model: path of a ``.onnx`` file, or its bytes; its inputs are float32 or uint8.
    peers: names of :data:`.peers.PEERS`.
    runs: timed runs of every engine, by turns, after a warm-up.
    batch: size of a first axis that the model leaves free.
    original: the float network that the model was made from: timed in stock onnxruntime as it is and in int8.
    reference: samples with labels. On them the accuracy of the model and of both forms of the original is measured;
        the first hundred calibrate the int8 form.

    The integers of every packed layer are compared with the oracle first. Raises ConfigError for a peer that is not
    known, a number below 1, an input of another type, or an original that takes other inputs or answers in another
    shape; CheckFailed where an integer differs; ModelError for a file that cannot be read or run; DataError for a
    reference without labels.
    """
    for peer in peers:
        if peer not in PEERS:
            raise ConfigError(f"there is no peer {peer}; there are {', '.join(sorted(PEERS))}")
    if runs < 1 or batch < 1 or min(threads, default=0) < 1:
        raise ConfigError("runs, batch and threads must be 1 or more")
    data = read_bytes(model)
    _verify(data)
    samples = None if reference is None else labelled(reference)
    results: list[BenchRow] = []
    beside = None
    for count in threads:
        session = InferenceSession(data, num_threads=count)
        feeds = random_feeds(session, batch)
        calls: dict[str, Callable[[], object]] = {"latentbit": _call(session, feeds)}
        for peer in peers:
            calls[peer] = PEERS[peer](data, feeds, count)
        runners = {"latentbit": Runner(session, session.get_inputs()[0].name)}
        if original is not None:
            beside = beside or open_original(original, session, feeds, samples)
            others = beside.runners(count)
            own = beside.prepare(next(iter(feeds.values())))
            calls |= {name: partial(runner.answer, own) for name, runner in others.items()}
            runners |= others
        found = {name: times(values) for name, values in interleaved(calls, runs).items()}
        right = {name: runner.accuracy(samples) for name, runner in runners.items()} if samples else {}
        ours = found["latentbit"].median
        results += [
            BenchRow(name, count, figures, figures.median / ours, right.get(name)) for name, figures in found.items()
        ]
    shown = "bytes" if isinstance(model, bytes) else fspath(model)
    return BenchReport(shown, batch, runs, tuple(results), environment())


def _call(session: InferenceSession, feeds: dict[str, NDArray[Any]]) -> Callable[[], object]:
    return lambda: session.run(None, feeds)


def _verify(data: bytes) -> None:
    """Compare the integers of every packed layer with the oracle: no time is taken of what is wrong."""
    session, oracle = InferenceSession(data), layer_oracle(data)
    for layer in session.trace(random_feeds(session)):
        if not np.array_equal(oracle(layer.name, layer.signs), layer.accumulators):
            raise CheckFailed(f"layer {layer.name}: integers differ from the oracle; no time was taken")
