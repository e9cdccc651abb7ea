"""The kernels of dense layers with real inputs and one bit a weight, in a list.

The first that this CPU can run is taken. All of them give the same bits (:mod:`.signed_sums`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..layout.signed import eights, sixteens

__all__ = ["SIGNED", "SignedKernel"]


@dataclass(frozen=True)
class SignedKernel:
    """A kernel of signed sums.

    ======== ==============================================================
    name     as ``info`` shows it, and its module of ``kernels/``
    symbol   the kernel in it
    features what the CPU must have
    form     makes its words of words that hold 32 inputs in order
    rows     the most rows of a batch of known size for which it is faster than a product of floats; None: of any
    ======== ==============================================================
    """

    name: str
    symbol: str
    features: frozenset[str]
    form: Callable[[Any], Any]
    rows: int | None = None

    @property
    def module(self) -> str:
        """Module of ``kernels/``."""
        return self.name


SIGNED = (
    SignedKernel("sixteens", "sums_sixteens", frozenset({"avx512f"}), sixteens),
    SignedKernel("eights", "sums_eights", frozenset({"avx2"}), eights),
    SignedKernel("bytes", "sums_bytes", frozenset(), sixteens, rows=8),
)
"""The kernels of signed sums, the fastest first."""
