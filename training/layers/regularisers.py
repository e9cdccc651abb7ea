"""Weight regularisers: what W becomes before it is binarised, at no cost in the exported network.

A regulariser is a function ``(weight, progress) -> weight`` of the same shape, per output channel, ``progress`` the
share of the schedule that has passed. After training :func:`.stages.bake` writes its result into W, so that nothing of
it remains. Register a new one in :data:`REGULARISERS`; layers choose by name.

===========  ==========================================================================================
name         W becomes
===========  ==========================================================================================
none         itself
standardise  (W − mean) / deviation: balanced signs, most information (IR-Net, arXiv 1909.10788, eq. 8)
recu         standardised, then clamped to its τ-quantile, τ = 0.85 → 0.99: revives weights that are too
             large to flip (ReCU, arXiv 2103.12369, eqs. 7 and 16). The quantile is that of a Laplace
             distribution, −b·ln(2 − 2τ) with b = mean|W|: no sorting, no synchronisation
===========  ==========================================================================================
"""

import math
from collections.abc import Callable
from types import MappingProxyType

from torch import Tensor

from ...runtime.errors import ConfigError

__all__ = ["REGULARISERS", "find_regulariser", "none", "recu", "standardise"]

Regulariser = Callable[[Tensor, float], Tensor]

TAU_START, TAU_END = 0.85, 0.99


def _axes(weight: Tensor) -> tuple[int, ...]:
    return tuple(range(1, weight.dim()))


def none(weight: Tensor, progress: float) -> Tensor:
    """Return W itself."""
    return weight


def standardise(weight: Tensor, progress: float) -> Tensor:
    """Return W with mean 0 and deviation 1 in each output channel."""
    centred = weight - weight.mean(_axes(weight), keepdim=True)
    return centred / (centred.square().mean(_axes(weight), keepdim=True).sqrt() + 1e-5)


def recu(weight: Tensor, progress: float) -> Tensor:
    """Return the standardised W clamped to ±Q(τ) in each output channel."""
    even = standardise(weight, progress)
    tau = TAU_START + (TAU_END - TAU_START) * progress
    limit = even.detach().abs().mean(_axes(weight), keepdim=True) * -math.log(2 - 2 * tau)
    return even.minimum(limit).maximum(-limit)


REGULARISERS: MappingProxyType[str, Regulariser] = MappingProxyType(
    {"none": none, "recu": recu, "standardise": standardise}
)


def find_regulariser(name: str) -> Regulariser:
    """Return the regulariser of this name; ConfigError lists the known ones."""
    if name not in REGULARISERS:
        raise ConfigError(f"unknown weight regulariser {name!r}: choose one of {', '.join(REGULARISERS)}")
    return REGULARISERS[name]
