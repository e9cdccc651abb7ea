"""What the programs that measure whole models ask of one, ours or onnxruntime's, and the lines that they keep."""

import json
from collections.abc import Hashable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentbit.runtime.files import write_bytes

__all__ = ["accuracy", "answer", "keep_lines"]

BATCH = 500


def answer(session: Any, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the only output of a session for its only input."""
    (found,) = session.run(None, {session.get_inputs()[0].name: inputs})
    return np.asarray(found)


def accuracy(session: Any, data: Any, images: NDArray[np.uint8], labels: NDArray[Any]) -> float:
    """Return the share of right answers on raw images of a data set."""
    right = 0
    for row in range(0, len(images), BATCH):
        answers = answer(session, data.normalise(images[row : row + BATCH]))
        right += int((answers.argmax(axis=1) == labels[row : row + BATCH]).sum())
    return right / len(images)


def keep_lines(path: Path, lines: Iterable[dict[str, Any]], *key: str) -> None:
    """Write lines of JSON in the order of the values under ``key``; those of the file with other values stay."""
    known: dict[tuple[Hashable, ...], dict[str, Any]] = {}
    before = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    for line in (*map(json.loads, before), *lines):
        known[tuple(line[name] for name in key)] = line
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, "".join(json.dumps(known[each], sort_keys=True) + "\n" for each in sorted(known)).encode())
