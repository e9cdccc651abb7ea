"""Values in a few bits: what stands between real numbers and signs while a network is made binary step by step."""

import torch.nn.functional as F
from torch import Tensor

from .signs import signs_of

__all__ = ["to_levels"]


def to_levels(x: Tensor, bits: int) -> Tensor:
    """Return the nearest of 2^bits evenly spaced levels from −1 to 1, of the sign of x; the gradient is hardtanh's.

    One bit gives the signs themselves, two bits −1, −1/3, 1/3 and 1, and so on: no level is 0, as no sign is. 0 bits
    stand for no rounding, hardtanh(x). The shape and dtype are those of x.
    """
    inside = F.hardtanh(x)
    if bits == 0:
        return inside
    value = inside.detach()
    gaps = 2**bits - 1
    steps = value.abs().mul_(gaps / 2).floor_().clamp_(max=(gaps - 1) // 2)
    return inside + (steps.mul_(2).add_(1).div_(gaps).mul_(signs_of(value)) - value)
