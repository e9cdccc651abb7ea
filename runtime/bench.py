"""Benchmark of a user's model on a user's machine: this runtime beside others, by turns in one process."""

from collections.abc import Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .environment import environment
from .errors import ConfigError
from .session import InferenceSession
from .timing import interleaved, milliseconds, stock_session

__all__ = ["bench", "random_feeds"]

_SYMBOLIC = 1
"""Size given to a symbolic axis such as the batch."""


def random_feeds(session: InferenceSession, seed: int = 0) -> dict[str, NDArray[Any]]:
    """Return random arrays that fit the inputs of a session (symbolic sizes become 1)."""
    rng = np.random.default_rng(seed)
    feeds: dict[str, NDArray[Any]] = {}
    for info in session.get_inputs():
        shape = [size if isinstance(size, int) else _SYMBOLIC for size in info.shape]
        if info.type == "tensor(uint8)":
            feeds[info.name] = rng.integers(0, 256, shape, np.uint8)
        elif info.type == "tensor(float)":
            feeds[info.name] = rng.standard_normal(shape).astype(np.float32)
        else:
            raise ConfigError(f"bench can make up float and uint8 inputs, not {info.type} for {info.name}")
    return feeds


def bench(
    model: str | PathLike[str],
    *,
    peers: Sequence[str] = ("onnxruntime",),
    threads: Sequence[int] = (1,),
    runs: int = 100,
) -> dict[str, Any]:
    """Time one sample through the model here and on every peer, for each number of threads.

    Returns ``results``: a list of ``{engine, threads, median, p95, best, ratio}`` (milliseconds; ``ratio`` is the
    engine's median over ours), and ``environment``. Raises ConfigError for a peer that is not known.
    """
    for peer in peers:
        if peer not in _PEERS:
            raise ConfigError(f"there is no peer {peer}; there are {', '.join(sorted(_PEERS))}")
    data = Path(model).read_bytes() if not isinstance(model, bytes) else model
    results = []
    for count in threads:
        session = InferenceSession(data, num_threads=count)
        feeds = random_feeds(session)
        calls = {"latentbit": lambda session=session, feeds=feeds: session.run(None, feeds)}
        for peer in peers:
            other = _PEERS[peer](data, count)
            calls[peer] = lambda other=other, feeds=feeds: other.run(None, feeds)
        times = {name: milliseconds(values) for name, values in interleaved(calls, runs).items()}
        ours = times["latentbit"]["median"]
        results += [
            {"engine": n, "threads": count, **figures, "ratio": figures["median"] / ours}
            for n, figures in times.items()
        ]
    return {"model": fspath(model), "results": results, "environment": environment()}


_PEERS = {"onnxruntime": stock_session}
