"""The kernels of the exact stem's sums, in a list.

To add one write its module and add a row to :data:`SUMS`. The first that fits CPU and stem is taken.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .fits import eight_bits

__all__ = ["SUMS", "SumsKernel"]


@dataclass(frozen=True)
class SumsKernel:
    """A kernel of the exact stem's sums.

    ============ ========================================================================================
    name         as ``info`` shows it
    module       module of ``kernels/``, and in it
    symbol       the kernel that makes a row of sums
    before       the kernel of ``kernels/stem_image.py`` that fills the image with its border
    features     what the CPU must have
    takes        weight, int16 ``[O, C, kh, kw]`` -> whether the kernel can multiply by it
    dtype        type of a number of the image
    weight_dtype type of a weight
    run          numbers of a window row that are multiplied at once
    pixels       pixels of a tile
    lanes        output channels of a block
    raw          True: the image holds pixels − ``less``, and each lane starts at −Σ w·(zero point − ``less``).
                 False: pixels − zero point
    less         what is taken from every pixel
    column       True: where one number is left at the end of each window row, runs are taken down this column
    ============ ========================================================================================
    """

    name: str
    module: str
    symbol: str
    before: str
    features: frozenset[str]
    takes: Callable[[NDArray[np.int16]], bool]
    dtype: Any
    weight_dtype: Any
    run: int
    pixels: int
    lanes: int
    raw: bool
    less: int = 0
    column: bool = False


_NEON = frozenset({"asimd"})
_QUADS = SumsKernel(
    name="quads",
    module="stem_quads",
    symbol="sums_quads",
    before="place_pixels",
    features=frozenset({"avx512f", "avx512_vnni"}),
    takes=eight_bits,
    dtype=np.uint8,
    weight_dtype=np.int8,
    run=4,
    pixels=4,
    lanes=64,
    raw=True,
    column=True,
)
_PAIRS = SumsKernel(
    name="pairs",
    module="stem_pairs",
    symbol="sums_pairs",
    before="centre_pixels",
    features=frozenset(),
    takes=lambda weight: True,
    dtype=np.int16,
    weight_dtype=np.int16,
    run=2,
    pixels=2,
    lanes=32,
    raw=False,
)
_DOTS = replace(
    _QUADS,
    name="dots",
    module="stem_dots",
    symbol="sums_dots",
    before="shift_pixels",
    features=_NEON | {"asimddp"},
    dtype=np.int8,
    lanes=16,
    less=128,
    column=False,
)
_SINGLES = replace(
    _PAIRS, name="singles", module="stem_singles", symbol="sums_singles", features=_NEON, run=1, pixels=4, lanes=16
)
SUMS = (_QUADS, _DOTS, _SINGLES, _PAIRS)
"""The kernels of the exact stem's sums; the first that fits CPU and stem is taken. All give the same integers."""
