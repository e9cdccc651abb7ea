"""The choice of kernels, by CPU and layer alone; the plan is made from it."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..intake.model import BinaryLayer, Model
from ..kernels.dense import SIGNED
from ..kernels.registry import SHORTCUT_LANES, SUMS, Kernel, can_project, choose, find_kernel
from ..machine.library import usable_features
from ..plan.parts import Chosen

__all__ = ["KernelChoice", "choose_kernels"]

_VARIABLE = "LATENTBIT_PREFER"
"""Environment variable: a kernel to prefer where the caller names none."""


@dataclass(frozen=True)
class _ShortcutKernel:
    """A kernel of the float shortcut: ``symbol`` makes ``lanes`` output channels at a time."""

    symbol: str
    lanes: int
    name: str = "shortcut"


@dataclass(frozen=True)
class _Native:
    """The kernels of chains, means and routes."""

    name: str = "native"


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
        if not can_project(features) or outputs % SHORTCUT_LANES:
            return None
        if "avx512f" in features and outputs % (2 * SHORTCUT_LANES) == 0:
            kernel = _ShortcutKernel("project_blocks_wide", 2 * SHORTCUT_LANES)
        else:
            kernel = _ShortcutKernel("project_blocks", SHORTCUT_LANES)
        return Chosen(kernel, "a shortcut between binary layers")

    def dense(self, rows: int | None) -> Chosen | None:
        """Return the kernel of dense layers with real inputs; None where for so many rows floats are faster.

        A batch of unknown size (None) is taken, for its weights then take a 32nd of the memory.
        """
        kernel = next(kernel for kernel in SIGNED if kernel.features <= usable_features())
        if rows is not None and kernel.rows is not None and rows > kernel.rows:
            return None
        return Chosen(kernel, "one bit a weight in memory")

    def native(self, ops: Sequence[str]) -> Chosen:
        """Return the kernel of float operators between parts; there is one for each kind, so nothing is chosen."""
        return Chosen(_Native(), "float work between packed layers")

    def bits_fit(self, maker: BinaryLayer | None, reader: BinaryLayer) -> bool:
        """Tell whether the maker (None: the stem) can write its output as the packed input of the reader.

        An epilogue writes channel after channel, so groups of channels may leave no gaps between them on either side;
        that of a layer writes whole vectors of bits, so a pixel must be a multiple of one.
        """
        its: Kernel = self.unit(reader).kernel
        if maker is not None and maker.shape[0] != reader.channels:
            return False  # a file that contradicts itself: refused when the floats are bound
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

    Without it ``LATENTBIT_PREFER`` in the environment may name one.
    Raises ModelError for a kernel that does not exist or that this CPU cannot run.
    """
    wanted = os.environ.get(_VARIABLE) or None if wanted is None else wanted
    asked = None if wanted is None else find_kernel(wanted)
    packed = [layer for layer in model.layers.values() if not layer.real_input]
    return KernelChoice({layer.output: Chosen(*choose(layer, asked)) for layer in packed})
