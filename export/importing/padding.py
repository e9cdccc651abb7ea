"""Pads of a layer whose input is a sum of signs: one sign stands for the number outside the image in every plane.

Of the levels −2, −1, 0 and 1, the 0 is the second highest: of three signs two are +1 there and one is −1. The third is
stored turned round, as −s, and so are its weights. Then +1 stands outside the image in all three.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .signs import Signs

__all__ = ["facing"]

_MAXIMA = ("GlobalMaxPool", "MaxPool")


def facing(signs: Signs, number: float) -> Signs | None:
    """Return the same value with some planes turned round, so that ``number`` is the same sign in all of them.

    None where ``number`` is no level, and behind a maximum, which turned signs do not go through.
    """
    wanted = (number - signs.offset) / signs.scale
    whole = round(wanted) if np.isfinite(wanted) else signs.planes
    turned, odd = divmod(signs.planes - abs(whole), 2)
    if signs.planes == 1 or odd or not 0 < turned < signs.planes or not whole:
        return None
    factors = np.ones((signs.planes, 1), np.int8)
    factors[signs.planes - turned :] = -1
    return _turned(signs, factors)


def _turned(signs: Signs, factors: NDArray[np.int8]) -> Signs | None:
    node = signs.value.producer()
    if signs.leaf is not None:
        flips = signs.leaf.flips * factors.reshape(-1, *[1] * (signs.leaf.flips.ndim - 1))
        return replace(signs, leaf=replace(signs.leaf, flips=flips, straight=True), flips=factors, faithful=False)
    parts = [_turned(part, factors) for part in signs.parts]
    if node is None or node.op_type in _MAXIMA or not parts:
        return None
    kept = tuple(part for part in parts if part is not None)
    return replace(signs, parts=kept, flips=factors, faithful=False) if len(kept) == len(parts) else None
