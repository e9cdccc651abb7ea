"""Benchmark of a user's model on a user's machine: this runtime beside others, by turns in one process."""

from collections.abc import Callable, Sequence
from os import PathLike, fspath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import CheckFailed, ConfigError
from ..intake.source import read_bytes
from ..machine.environment import environment
from ..session.session import InferenceSession
from .oracle import layer_oracle
from .peers import PEERS
from .timing import interleaved, milliseconds

__all__ = ["bench", "random_feeds"]


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
) -> dict[str, Any]:
    """Time one batch of random data through the model, here and on every peer, for each number of threads.

    The integers of every packed layer are compared with the oracle first. Returns ``results``, a list of ``{engine,
    threads, median, p95, best, ratio}`` (milliseconds; ``ratio`` is the engine's median over ours), and
    ``environment``. Raises ConfigError for a peer that is not known, CheckFailed where an integer differs.
    """
    for peer in peers:
        if peer not in PEERS:
            raise ConfigError(f"there is no peer {peer}; there are {', '.join(sorted(PEERS))}")
    if runs < 1 or batch < 1 or min(threads, default=0) < 1:
        raise ConfigError("runs, batch and threads must be 1 or more")
    data = read_bytes(model)
    _verify(data)
    results = []
    for count in threads:
        session = InferenceSession(data, num_threads=count)
        feeds = random_feeds(session, batch)
        calls: dict[str, Callable[[], object]] = {"latentbit": _call(session, feeds)}
        for peer in peers:
            calls[peer] = PEERS[peer](data, feeds, count)
        times = {name: milliseconds(values) for name, values in interleaved(calls, runs).items()}
        ours = times["latentbit"]["median"]
        for name, figures in times.items():
            results.append({"engine": name, "threads": count, **figures, "ratio": figures["median"] / ours})
    shown = "bytes" if isinstance(model, bytes) else fspath(model)
    return {"model": shown, "batch": batch, "runs": runs, "results": results, "environment": environment()}


def _call(session: InferenceSession, feeds: dict[str, NDArray[Any]]) -> Callable[[], object]:
    return lambda: session.run(None, feeds)


def _verify(data: bytes) -> None:
    """Compare the integers of every packed layer with the oracle: no time is taken of what is wrong."""
    session, oracle = InferenceSession(data), layer_oracle(data)
    for layer in session.trace(random_feeds(session)):
        if not np.array_equal(oracle(layer.name, layer.signs), layer.accumulators):
            raise CheckFailed(f"layer {layer.name}: integers differ from the oracle; no time was taken")
