"""The kernels, in lists: what each needs, what it takes, how its data lie, and how it is called.

To add a kernel of convolutions write its module, which makes it by :func:`.tiles.make_convolution`, and add a row to
:data:`KERNELS`; tests, ``info`` and benchmarks read the list. The first kernel that fits CPU and layer is taken,
unless a trial on this machine says that its rival is faster (:mod:`..steps.trial`).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError
from ..intake.model import BinaryLayer
from ..layout.codes import code_table, code_weights
from ..layout.images import BYTES, NIBBLES, SLICES, WORDS, ImageFormat, PackedImage
from ..layout.lookup import pair_table, single_table
from ..layout.slices import from_above, gathers, slice_weights, spread_copies, turned_copies
from ..layout.tables import Order, half_order, pair_order, row_order
from ..layout.weights import interleaved
from ..machine.library import usable_features
from .fits import any_layer, convolutions, even_groups, few_pairs, small_groups, square_windows, whole_words

__all__ = ["KERNELS", "SHORTCUT_LANES", "Kernel", "can_project", "find_kernel"]


@dataclass(frozen=True)
class Before:
    """A kernel that runs before a convolution and makes another image of its packed input, a row at a time.

    ======= ==========================================================================================
    module  module of ``kernels/``, and in it
    symbol  the kernel
    scratch image -> bytes of what it makes (0 where it is not needed), and their stride (SCRATCH_STRIDE)
    table   image and stride -> what the kernel has to know
    ======= ==========================================================================================
    """

    module: str
    symbol: str
    scratch: Callable[[PackedImage], tuple[int, int]]
    table: Callable[[PackedImage, int], NDArray[Any]] | None = None


@dataclass(frozen=True)
class Kernel:
    """A kernel of convolutions.

    ========== ==========================================================================================
    name       as ``info`` shows it and a caller asks for it
    module     module of ``kernels/``, and in it
    symbol     the kernel
    features   what the CPU must have
    slow       layer -> why a later kernel counts it faster, or None; a caller who asks for the kernel gets it
    rival      name of a later kernel that is faster on some CPUs with the features: each machine tries both once
    format     how the packed input lies
    piece      bytes of a window that are counted, at most, before the counters are widened
    grain      bytes of a window that are counted at once: all pieces but the last of a row are multiples
    pixels     output pixels of a tile
    lanes      output channels of a block
    order      which output pixels make a tile
    takes      layer -> None, or why the kernel does not take it
    table      makes its look-up table
    before     the kernel that runs first
    turn_bytes bytes of a lane's weights that lie together (:mod:`..layout.weights`)
    width      channels that the epilogue finishes at once
    pack       makes its weights, uint8 [blocks, bytes]; None: :func:`..layout.weights.pack_weights`
    ========== ==========================================================================================
    """

    name: str
    module: str
    symbol: str
    features: frozenset[str]
    format: ImageFormat
    piece: int
    grain: int
    pixels: int
    lanes: int
    order: Order
    takes: Callable[[BinaryLayer], str | None]
    table: Callable[[], NDArray[np.uint8]] | None = None
    before: Before | None = None
    turn_bytes: int = 1
    width: int = 8
    pack: Callable[[BinaryLayer], NDArray[np.uint8]] | None = None
    slow: Callable[[BinaryLayer], str | None] = any_layer
    rival: str = ""

    @property
    def lane_order(self) -> NDArray[np.int64]:
        """The output channel of each lane: counters of a byte are widened even and odd, wider ones stay as they are."""
        return interleaved(self.lanes) if self.turn_bytes == 1 else np.arange(self.lanes)


def _pair_image(image: PackedImage) -> tuple[int, int]:
    """An entry of two bytes for each byte of the image and those behind it."""
    return 2 * (image.data.shape[1] + image.slack), image.layer.strides[1] * image.pixel_bytes


def _a_number_a_pixel(image: PackedImage) -> tuple[int, int]:
    """Two bytes for each pixel of the image, and for those that are read behind it."""
    return 2 * (image.data.shape[1] // image.pixel_bytes) + 64, 0


_WHOLE = 1 << 30  # bytes of a piece: counters of 32 bits, and bit planes, need no widening
_CSA = Kernel(
    name="csa",
    module="csa",
    symbol="conv_csa",
    features=frozenset({"avx512f", "avx512_vpopcntdq"}),
    format=WORDS,
    piece=_WHOLE,
    grain=4,
    pixels=4,
    lanes=32,
    order=row_order(4),
    takes=whole_words,
    turn_bytes=4,
    width=16,
)
_PERM = Kernel(
    name="perm",
    module="perm",
    symbol="conv_perm",
    features=frozenset({"avx512bw", "avx512f", "avx512vbmi"}),
    format=WORDS,
    piece=_WHOLE,
    grain=4,
    pixels=14,
    lanes=64,
    order=half_order(7),
    takes=square_windows,
    table=code_table,
    pack=code_weights,
    before=Before("perm_odd", "odd_codes", _a_number_a_pixel),
    width=16,
    slow=few_pairs,
    rival="csa",
)
_SLICE = Kernel(
    name="slice",
    module="slice",
    symbol="conv_slice",
    features=frozenset(),
    format=SLICES,
    piece=_WHOLE,
    grain=1,
    pixels=8,
    lanes=512,
    order=row_order(8),
    takes=even_groups,
    pack=slice_weights,
    before=Before("copies", "turned_image", turned_copies, from_above),
    width=16,
)
_SPREAD = replace(
    _SLICE, name="spread", takes=small_groups, before=Before("copies", "spread_image", spread_copies, gathers)
)
_LUT2 = Kernel(
    name="lut2",
    module="lut2",
    symbol="conv_lut2",
    features=frozenset({"avx2"}),
    format=NIBBLES,
    piece=60,
    grain=6,
    pixels=4,
    lanes=64,
    order=pair_order(4),
    takes=convolutions,
    table=pair_table,
    before=Before("lut2", "pair_image", _pair_image),
)
_NEON, _OFFSETS = frozenset({"asimd"}), Before("tbl", "offset_image", _pair_image)
_TBL = replace(_LUT2, name="tbl", module="tbl", symbol="conv_tbl", features=_NEON, before=_OFFSETS, rival="ctp")
_LUT = Kernel(
    name="lut",
    module="lut",
    symbol="conv_lut",
    features=frozenset({"avx2"}),
    format=NIBBLES,
    piece=62,
    grain=2,
    pixels=5,
    lanes=64,
    order=row_order(5),
    takes=any_layer,
    table=single_table,
)
_CTP = Kernel(
    name="ctp",
    module="ctp",
    symbol="conv_ctp",
    features=frozenset(),
    format=BYTES,
    piece=31,
    grain=1,
    pixels=4,
    lanes=64,
    order=row_order(4),
    takes=any_layer,
)
KERNELS = (_PERM, _CSA, _SLICE, _SPREAD, _LUT2, _LUT, _TBL, _CTP)
"""The kernels of convolutions; the first that fits CPU and layer is taken."""

SHORTCUT_LANES = 16
"""A float shortcut has a multiple of so many output channels (kernels/shortcut.py)."""


def find_kernel(name: str) -> Kernel:
    """Return the kernel of this name; ModelError if there is none, or this CPU cannot run it."""
    by_name = {kernel.name: kernel for kernel in KERNELS}
    if name not in by_name:
        raise ModelError(f"there is no kernel {name}; there are {', '.join(by_name)}")
    if missing := by_name[name].features - usable_features():
        raise ModelError(f"kernel {name} cannot run here: the CPU has no {', '.join(sorted(missing))}")
    return by_name[name]


def can_project(features: frozenset[str]) -> bool:
    """Tell whether a CPU with these features has the fused multiply-add of vectors that the float shortcut needs."""
    return bool(features & {"asimd", "fma"})
