"""The kernels, in one list: what each needs, which layers it takes, how its data lie, and how it is called.

To add a kernel write its module with one function ``kernel(descriptor, image, begin, end)`` and add a line to
:data:`KERNELS`; tests, ``info`` and benchmarks read the list. The first kernel that fits CPU and layer is taken.
"""

import ctypes
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError
from ..intake.model import BinaryLayer
from ..layout.images import BYTES, NIBBLES, SLICES, WORDS, ImageFormat, PackedImage, interleaved
from ..layout.lookup import pair_table, single_table
from ..layout.slices import from_above, gathers, reach, spread_copies, turned_copies
from ..machine.jit import kernel_address
from ..machine.library import Library, current_library, usable_features

__all__ = ["KERNELS", "Kernel", "choose", "entry_address", "entry_point"]


def rows(tile: int) -> Callable[[int, int], NDArray[Any]]:
    """Return an order of output pixels: row by row, filled up to whole tiles."""

    def order(height: int, width: int) -> NDArray[Any]:
        count = height * width
        return np.concatenate([np.arange(count), np.full(-count % tile, -1)])

    return order


@dataclass(frozen=True)
class Before:
    """What a kernel makes of its packed input first: a function of a kernel module, one unit a row of the input.

    ``scratch`` returns the bytes that it makes, 0 where the kernel reads the input itself, and their step; ``table``
    returns what the function has to know, of an image and that step.
    """

    module: str
    symbol: str
    scratch: Callable[[PackedImage], tuple[int, int]]
    table: Callable[[PackedImage, int], NDArray[Any]] | None = None


@dataclass(frozen=True)
class Kernel:
    """A convolution kernel.

    ``features`` the CPU must have; ``takes`` says None, or why not this layer; at most ``piece`` bytes, in multiples of
    ``grain``, are counted before the counters are widened; a tile is ``pixels`` places of ``order`` × ``lanes`` output
    channels; ``table`` makes the look-up table; ``before`` runs first. The weights of a lane come in turns of ``unit``
    bytes; the epilogue takes ``width`` channels at a time.
    """

    name: str
    symbol: str
    module: str
    features: frozenset[str]
    format: ImageFormat
    piece: int
    grain: int
    pixels: int
    lanes: int
    order: Callable[[int, int], NDArray[Any]]
    takes: Callable[[BinaryLayer], str | None]
    table: Callable[[], NDArray[np.uint8]] | None = None
    before: Before | None = None
    unit: int = 1
    width: int = 8

    @property
    def lane_order(self) -> NDArray[np.int64]:
        """The output channel of each lane: counters of a byte are widened even and odd, wider ones stay as they are."""
        return interleaved(self.lanes) if self.unit == 1 else np.arange(self.lanes)


def pairs(tile: int) -> Callable[[int, int], NDArray[Any]]:
    """Return an order of output pixels in neighbours of a row (an odd row ends with −1), filled up to whole tiles."""

    def order(height: int, width: int) -> NDArray[Any]:
        index = np.full((height, width + width % 2), -1)
        index[:, :width] = np.arange(height * width).reshape(height, width)
        return np.concatenate([index.reshape(-1), np.full(-index.size % tile, -1)])

    return order


def _any(layer: BinaryLayer) -> None:
    return None


def _images(layer: BinaryLayer) -> str | None:
    return "a dense layer has no neighbouring pixels" if layer.op_type == "BinaryGemm" else None


def _whole_words(layer: BinaryLayer) -> str | None:
    outputs, inputs = layer.weight.shape[:2]
    if layer.group == 1 or (inputs % 32 == 0 and outputs // layer.group % 16 == 0):
        return None
    return "its groups of channels fill no whole words"


def _narrow(layer: BinaryLayer) -> str | None:
    outputs, inputs = layer.shape[:2]
    if layer.group > 1 and inputs <= 28 and outputs == layer.channels and layer.window < 255:
        return None
    return "it has no small groups with as many outputs as inputs"


def _uneven(layer: BinaryLayer) -> str | None:
    """The limit is where gathering the copies costs what lut2 does for a group, whatever its outputs (up to 64)."""
    products, limit = layer.shape[0] // layer.group * layer.shape[1], 16 * (math.prod(layer.shape[2:]) + 1)
    if layer.group > 1 and layer.window < 255 and products <= limit and reach(layer) <= 64:
        return None
    return "it has no small groups"


def _pair_image(image: PackedImage) -> tuple[int, int]:
    """An entry of two bytes for each byte of the image and those behind it."""
    return 2 * (image.data.shape[1] + image.slack), image.layer.strides[1] * image.pixel_bytes


_PAIRED = Before("lut2", "pair_image", _pair_image)
_TURNED = Before("copies", "turned_image", turned_copies, from_above)
_SPREAD = Before("copies", "spread_image", spread_copies, gathers)
_ALL: frozenset[str] = frozenset()  # every CPU
_AVX2, _AVX512 = frozenset({"avx2"}), frozenset({"avx512f", "avx512_vpopcntdq"})
_WHOLE = 1 << 30  # bytes: counters of 32 bits need no widening
_SLICE = Kernel(
    name="slice",
    symbol="conv_slice",
    module="slice",
    features=_ALL,
    format=SLICES,
    piece=_WHOLE,
    grain=1,
    pixels=8,
    lanes=512,
    order=rows(8),
    takes=_narrow,
    before=_TURNED,
    width=16,
)
KERNELS = (
    Kernel("csa", "conv_csa", "csa", _AVX512, WORDS, _WHOLE, 4, 4, 32, rows(4), _whole_words, unit=4, width=16),
    _SLICE,
    replace(_SLICE, name="spread", takes=_uneven, before=_SPREAD),
    Kernel("lut2", "conv_lut2", "lut2", _AVX2, NIBBLES, 60, 6, 4, 64, pairs(4), _images, pair_table, _PAIRED),
    Kernel("lut", "conv_lut", "lut", _AVX2, NIBBLES, 62, 2, 5, 64, rows(5), _any, single_table),
    Kernel("ctp", "conv_ctp", "ctp", _ALL, BYTES, 31, 1, 4, 64, rows(4), _any),
)


def choose(layer: BinaryLayer, wanted: str | None = None) -> tuple[Kernel, str]:
    """Return the kernel for a layer and the reason in words; ``wanted`` overrides by name where it fits.

    Raises ModelError for a kernel that does not exist or that this CPU cannot run.
    """
    features = usable_features()
    refusals: list[str] = []
    if wanted is not None and wanted not in {kernel.name for kernel in KERNELS}:
        raise ModelError(f"there is no kernel {wanted}; there are {', '.join(kernel.name for kernel in KERNELS)}")
    for kernel in sorted(KERNELS, key=lambda kernel: kernel.name != wanted):
        missing = kernel.features - features
        refusal = f"the CPU has no {', '.join(sorted(missing))}" if missing else kernel.takes(layer)
        if refusal is None:
            return kernel, "; ".join(refusals) or ("as asked" if kernel.name == wanted else "first choice")
        if kernel.name == wanted and missing:
            raise ModelError(f"kernel {wanted} cannot run here: {refusal}")
        refusals.append(f"not {kernel.name}: {refusal}")
    raise ModelError(f"node {layer.name}: no kernel takes it ({'; '.join(refusals)})")


def entry_point(module: str, symbol: str) -> Callable[..., None]:
    """Return the compiled function ``symbol`` of int64 arguments; called, it releases the interpreter lock."""
    return _entry_point(current_library(), module, symbol)


@cache
def _entry_point(built: Library | None, module: str, symbol: str) -> Callable[..., None]:
    prototype = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 4)
    return prototype(kernel_address(module, symbol) if built is None else built.address(symbol))


def entry_address(call: Callable[..., None]) -> int:
    """Return the address behind an entry point, for compiled code to call it."""
    return ctypes.cast(call, ctypes.c_void_p).value or 0  # type: ignore[arg-type]
