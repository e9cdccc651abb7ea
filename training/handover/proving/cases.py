"""The inputs of a proof: the example, noise in its range, its values mixed up, another batch, other sizes. Seeded."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

__all__ = ["Case", "make_cases"]

_SAMPLES = 4
"""Of a larger example, as many samples are looked at, if the file leaves the batch free."""


@dataclass(frozen=True)
class Case:
    """``inputs``, one tensor for each input of the network, and what they are; ``given``: by the user, not made up."""

    name: str
    inputs: list[Tensor]
    given: bool = False


def make_cases(examples: Sequence[Tensor], shapes: Sequence[Sequence[int | str | None]]) -> list[Case]:
    """Return the cases of an example, in the type of its tensors.

    shapes: of the file's inputs, symbolic sizes as text. Symbolic first axes are given another batch, other symbolic
    axes two other sizes: twice that of the example, and 3 more than it, where strides and windows do not divide.

    Made-up values lie in the range of the example, for that is all that is known of what the network takes. An example
    that is one number only stands for its type: real numbers become normal noise, bytes all bytes. Integers keep their
    range, since they may be indices. An example of two numbers, as ±1, stands for a network that takes no others.
    """
    draw = np.random.default_rng(0)
    free = bool(shapes) and all(shape and not isinstance(shape[0], int) for shape in shapes)
    batch = min(_SAMPLES, *(len(example) for example in examples)) if free else 0
    first = [example[:batch] if free else example for example in examples]
    other = (3 if batch == 2 else 2) if free else 0
    found = [
        Case("the example", list(first), given=True),
        Case(
            f"noise in a batch of {other}" if free else "noise",
            [_noise(example, [other or len(example), *example.shape[1:]], draw) for example in examples],
        ),
        Case("the values of the example mixed up", [_mixed(example, draw) for example in first]),
    ]
    for factor, more in ((2, 0), (1, 3)):
        sizes = [
            [
                size if isinstance(known, int) or not axis else factor * size + more
                for axis, (size, known) in enumerate(zip(example.shape, shape, strict=True))
            ]
            for example, shape in zip(first, shapes, strict=True)
        ]
        if sizes != [list(example.shape) for example in first]:
            noise = [_noise(example, size, draw) for example, size in zip(first, sizes, strict=True)]
            found.append(Case(f"noise of size {', '.join(str(size) for size in sizes)}", noise))
    return found


def _noise(example: Tensor, shape: Sequence[int], draw: np.random.Generator) -> Tensor:
    low, high = example.min().item(), example.max().item()
    if low < high and bool(((example == low) | (example == high)).all()):  # signs, or a mask
        return torch.from_numpy(draw.choice([low, high], shape)).to(example.dtype)
    if example.dtype.is_floating_point:
        constant = not low < high  # nor is there a range where a value is no number
        values = draw.standard_normal(shape) if constant else draw.uniform(low, high, shape)
        return torch.from_numpy(values).to(example.dtype)
    if example.dtype == torch.bool or (example.dtype == torch.uint8 and low == high):
        low, high = 0, 1 if example.dtype == torch.bool else 255
    return torch.from_numpy(draw.integers(int(low), int(high) + 1, shape)).to(example.dtype)


def _mixed(example: Tensor, draw: np.random.Generator) -> Tensor:
    """Return the values of the example in another order; signs are drawn anew where it has both of them."""
    if example.min() == example.max():
        return _noise(example, example.shape, draw)
    flat = example.reshape(-1)[torch.from_numpy(draw.permutation(example.numel()))].reshape(example.shape)
    if example.dtype.is_floating_point and example.min() < 0 < example.max():
        return flat * torch.from_numpy(draw.choice((-1.0, 1.0), tuple(example.shape))).to(example.dtype)
    return flat
