"""The sections on answers: accuracy by class, which classes are taken for which, and images with their answers."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .facts import Facts
from .pictures import image_source, pictures

__all__ = ["Classes", "Tile", "classes"]

_MATRIX = 12
"""Classes, at most, of which a matrix can be read on a phone."""
_PAIRS = 12
_BARS = 20
_SIDE = 192
"""Pixels of a tile, enough for a screen with two pixels to each of the page's."""


@dataclass(frozen=True)
class Tile:
    """An image with the deployed model's answer: its source, what it shows, and what stands below it."""

    source: str
    truth: str
    answer: str

    @property
    def right(self) -> bool:
        """Whether the answer is the truth."""
        return self.truth == self.answer


@dataclass(frozen=True)
class Classes:
    """``shares``: (class, share right, how many); ``hidden``: how many classes are left out, the best ones.

    ``matrix``: a row a class that the images show, of (how many, share of the row) for each answer; empty where there
    are too many classes. ``pairs``: (shown, answered, how many), the most frequent mistakes. ``wrong`` and ``right``
    are tiles, none where the input is no image.
    """

    names: list[str]
    shares: list[tuple[str, float, int]]
    hidden: int
    matrix: list[list[tuple[int, float]]]
    pairs: list[tuple[str, str, int]]
    errors: int
    total: int
    wrong: list[Tile]
    right: list[Tile]


def classes(facts: Facts) -> Classes | None:
    """Return the deployed answers by class, None for a network whose outputs are no class scores."""
    names, labels = facts.names, facts.reference.labels
    if names is None or labels is None:
        return None
    predicted, count = facts.predicted, len(names)
    table = np.zeros((count, count), np.int64)
    np.add.at(table, (labels, predicted), 1)
    totals = table.sum(axis=1)
    shares = [(names[k], table[k, k] / totals[k], int(totals[k])) for k in range(count) if totals[k]]
    if len(shares) > _BARS:
        shares.sort(key=lambda row: row[1])
    mistakes = [(int(n), int(a), int(b)) for (a, b), n in np.ndenumerate(table) if a != b and n]
    mistakes.sort(key=lambda found: (-found[0], found[1:]))
    wrong, right = _tiles(facts, labels, predicted, names)
    return Classes(
        names,
        shares[:_BARS],
        max(0, len(shares) - _BARS),
        _matrix(table) if count <= _MATRIX else [],
        [(names[a], names[b], n) for n, a, b in mistakes[:_PAIRS]],
        int(np.sum(predicted != labels)),
        len(labels),
        wrong,
        right,
    )


def _matrix(table: NDArray[np.int64]) -> list[list[tuple[int, float]]]:
    totals = np.maximum(table.sum(axis=1, keepdims=True), 1)
    return [
        [(int(n), float(share)) for n, share in zip(*row, strict=True)]
        for row in zip(table, table / totals, strict=True)
    ]


def _tiles(
    facts: Facts, labels: NDArray[np.int64], predicted: NDArray[np.int64], names: list[str]
) -> tuple[list[Tile], list[Tile]]:
    """Return wrong answers, at most half of what is shown, and right ones spread over the sample."""
    shown, room = pictures(facts.reference.inputs, facts.about.get("input")), facts.run.config.report.images
    if shown is None:
        return [], []
    wrong = np.flatnonzero(predicted != labels)[: room // 2]
    right = np.flatnonzero(predicted == labels)
    places = np.linspace(0, len(right) - 1, min(room - len(wrong), len(right))).astype(int)

    def tile(index: Any) -> Tile:
        return Tile(image_source(shown[index], side=_SIDE), names[labels[index]], names[predicted[index]])

    return [tile(index) for index in wrong], [tile(index) for index in right[places]]
