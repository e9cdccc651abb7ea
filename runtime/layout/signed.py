"""Weights of a dense layer with real inputs: a word of 32 bits holds 32 inputs of an output, outputs side by side."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ..intake.model import BinaryLayer
from .float_words import SIGNED_BLOCK, SIGNED_LANES
from .memory import aligned

__all__ = ["eights", "pack_signed", "sixteens"]

_Words = NDArray[np.uint32]


def sixteens(words: _Words) -> _Words:
    """Return words as they are: bit i is the sign of input i."""
    return words


def eights(words: _Words) -> _Words:
    """Return words with three bits of each four of inputs below, turned round by the fourth, and the fourth above.

    The three of four f stand at bit 3·f, the fourth at bit 31 − f.
    """
    found = np.zeros_like(words)
    for four in range(8):
        bits = words >> np.uint32(4 * four)
        fourth = bits >> np.uint32(3) & np.uint32(1)
        found |= ((bits ^ -fourth) & np.uint32(7)) << np.uint32(3 * four) | fourth << np.uint32(31 - four)
    return found


def pack_signed(layer: BinaryLayer, form: Callable[[_Words], _Words]) -> _Words:
    """Return the words of all blocks one behind the other, each ``[K / 32, outputs of the block]``; bit 1 is −1.

    K is filled up to a multiple of 32 and the outputs of the last block to one of the lanes: as many bits as the file
    has, but for what is filled up. Fillings are +1; their inputs are zeros, and nobody reads their outputs.
    """
    outputs, inputs = layer.shape[:2]
    steps, lanes = -(-inputs // 32), -(-outputs // SIGNED_LANES) * SIGNED_LANES
    padded = np.zeros((lanes, 4 * steps), np.uint8)
    packed = layer.packed.reshape(outputs, -1)
    padded[:outputs, : packed.shape[1]] = ~packed
    words = form(padded.view("<u4").astype(np.uint32, copy=False))
    result = aligned(words.size, np.uint32)
    for first in range(0, lanes, SIGNED_BLOCK):
        block = words[first : first + SIGNED_BLOCK]
        result[first * steps :][: block.size] = block.T.reshape(-1)
    return result
