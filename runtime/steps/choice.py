"""The choice of kernels, by CPU and layer alone; the plan is made from it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..intake.model import BinaryLayer, Model
from ..kernels.registry import Kernel, choose
from ..machine.library import usable_features
from ..plan.parts import Chosen

__all__ = ["LANES", "SUMS", "KernelChoice", "ShortcutKernel", "SumsKernel", "can_project", "choose_kernels"]

LANES = 16
"""Output channels come in multiples of this; see kernels/shortcut.py."""


@dataclass(frozen=True)
class SumsKernel:
    """A kernel of the stem's sums: ``before`` fills the image with its border, ``symbol`` makes a row of sums.

    ``run`` numbers of a window row, of type ``dtype``, are a step; a tile is ``pixels`` × ``lanes`` channels. The image
    holds pixels as they are (``raw``), and then each lane starts at −Σ w·zero point, or it holds them centred.
    """

    name: str
    module: str
    before: str
    symbol: str
    features: frozenset[str]
    takes: Callable[[NDArray[np.int16]], bool]
    dtype: Any
    weight_dtype: Any
    run: int
    pixels: int
    lanes: int
    raw: bool


def _bytes(weight: NDArray[np.int16]) -> bool:
    return bool(weight.min(initial=0) >= -128 and weight.max(initial=0) <= 127)  # a negated −128 is no int8


_VNNI = frozenset({"avx512f", "avx512_vnni"})
SUMS = (
    SumsKernel("quads", "stem_quads", "place_pixels", "sums_quads", _VNNI, _bytes, np.uint8, np.int8, 4, 4, 64,
               raw=True),
    SumsKernel("pairs", "stem_pairs", "centre_pixels", "sums_pairs", frozenset(), lambda stem: True, np.int16,
               np.int16, 2, 2, 32, raw=False),
)  # fmt: skip
"""The first that fits the CPU and the stem is taken; all give the same integers."""


def can_project(features: frozenset[str]) -> bool:
    """Tell whether a CPU with these features has a fused multiply-add of vectors."""
    return bool(features & {"asimd", "fma"})


@dataclass(frozen=True)
class ShortcutKernel:
    """A kernel of the float shortcut: ``symbol`` makes ``lanes`` output channels at a time."""

    symbol: str
    lanes: int
    name: str = "shortcut"


@dataclass(frozen=True)
class KernelChoice:
    """The kernel of each binary layer, by the name of its output, and rules for what is not in the file as a layer."""

    layers: Mapping[str, Chosen]

    def unit(self, layer: BinaryLayer) -> Chosen:
        """Return the kernel of a binary layer."""
        return self.layers[layer.output]

    def stem(self, weight: NDArray[np.int16]) -> Chosen:
        """Return the kernel of the sums of an exact stem with this weight ``[O, C, kh, kw]``."""
        features = usable_features()
        kernel = next(kernel for kernel in SUMS if kernel.features <= features and kernel.takes(weight))
        return Chosen(kernel, "int8 weights over pixels")

    def shortcut(self, weight: NDArray[np.float32]) -> Chosen | None:
        """Return the kernel of a float shortcut with this weight ``[O, C]``.

        None where the channels do not fill the lanes, and on a CPU without a fused multiply-add, where onnxruntime is
        as fast.
        """
        features, outputs = usable_features(), len(weight)
        if not can_project(features) or outputs % LANES:
            return None
        wide = "avx512f" in features and outputs % (2 * LANES) == 0
        kernel = ShortcutKernel("project_blocks_wide", 2 * LANES) if wide else ShortcutKernel("project_blocks", LANES)
        return Chosen(kernel, "a shortcut between binary layers")

    def bits_fit(self, maker: BinaryLayer | None, reader: BinaryLayer) -> bool:
        """Tell whether the maker (None: the stem) can write its output as the packed input of the reader.

        An epilogue writes channel after channel, so groups of channels may leave no gaps between them on either side;
        that of a layer writes whole vectors of bits, so a pixel must be a multiple of one.
        """
        its: Kernel = self.unit(reader).kernel
        if not _gapless(reader, its, reader.shape[1]):
            return False
        if maker is None:
            return True
        kernel: Kernel = self.unit(maker).kernel
        written = kernel.width // its.format.per_byte
        outputs = maker.shape[0] // maker.group
        return _gapless(maker, kernel, outputs) and its.format.pixel_bytes(reader) % written == 0


def _gapless(layer: BinaryLayer, kernel: Kernel, channels: int) -> bool:
    """Return whether groups of ``channels`` channels leave no gaps between them."""
    return kernel.format.groups(layer)[0] == 1 or channels % 8 == 0


def choose_kernels(model: Model, wanted: str | None = None) -> KernelChoice:
    """Choose the kernels for a model on this CPU; ``wanted`` is preferred by name for every layer that it takes.

    Raises ModelError for a kernel that does not exist or that this CPU cannot run.
    """
    packed = [layer for layer in model.layers.values() if not layer.real_input]
    return KernelChoice({layer.output: Chosen(*choose(layer, wanted)) for layer in packed})
