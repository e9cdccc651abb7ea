"""The choice of kernels, by CPU and layer; the plan is made from it."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError
from ..intake.model import BinaryLayer, Model
from ..kernels.dense import SIGNED
from ..kernels.registry import KERNELS, SHORTCUT_LANES, Kernel, can_project, find_kernel
from ..kernels.sums import SUMS
from ..layout.float_words import LINEAR_BLOCK, LINEAR_GROUP
from ..machine.library import usable_features
from ..plan.chain import Chain
from ..plan.parts import Chosen
from .natives import follow
from .trial import speed_ratio

__all__ = ["KernelChoice", "choose_kernels"]

_VARIABLE = "LATENTBIT_PREFER"
"""Environment variable: a kernel to prefer where the caller names none."""

_NOTEWORTHY = 0.97
"""A rival that takes more than this part of the time is not chosen: a trial is no more exact than that."""


@dataclass(frozen=True)
class _ShortcutKernel:
    """A kernel of the float shortcut: ``symbol`` makes ``lanes`` output channels at a time."""

    symbol: str
    lanes: int
    name: str = "shortcut"


@dataclass(frozen=True)
class _LinearKernel:
    """A kernel of float dense layers."""

    symbol: str
    name: str = "linear"


@dataclass(frozen=True)
class _Native:
    """The kernels of chains, means and routes; a view needs none."""

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

    def linear(self, outputs: int) -> Chosen | None:
        """Return the kernel of float dense layers with so many outputs.

        None on a CPU without a fused multiply-add, where onnxruntime is as fast.
        """
        features = usable_features()
        if not can_project(features):
            return None
        wide = "avx512f" in features and outputs > LINEAR_BLOCK * LINEAR_GROUP // 2
        kernel = _LinearKernel("products_wide" if wide else "products")
        return Chosen(kernel, "a float dense layer beside packed ones")

    def native(self, ops: Sequence[str]) -> Chosen:
        """Return the kernel of float operators between parts; there is one for each kind, so nothing is chosen."""
        return Chosen(_Native(), "float work between packed layers")

    def follow(self, chains: Sequence[Chain], source: str, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return what chains make of ``values`` ``[rows, C]`` of their source, by the kernel that would run them."""
        return follow(chains, source, values)

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
    return KernelChoice({layer.output: _choose(layer, asked) for layer in packed})


def _choose(layer: BinaryLayer, wanted: Kernel | None) -> Chosen:
    """Return the first kernel of the list that fits CPU and layer and loses no trial; ``wanted``, if it fits at all."""
    if wanted is not None and _refusal(wanted, layer) is None:
        return Chosen(wanted, "as asked")
    refusals = [] if wanted is None else [f"not {wanted.name}: {_refusal(wanted, layer)}"]
    for kernel in KERNELS:
        refusal = _refusal(kernel, layer) or kernel.slow(layer)
        won: list[str] = []
        if refusal is None and kernel.rival and _refusal(rival := find_kernel(kernel.rival), layer) is None:
            ratio = speed_ratio(kernel, rival)
            outcome = f"{rival.name} takes {ratio:.2f} times as long on this machine"
            refusal, won = (outcome, []) if ratio < _NOTEWORTHY else (None, [outcome])
        if refusal is None:
            return Chosen(kernel, "; ".join([*refusals, *won]) or "first choice")
        if kernel is not wanted:
            refusals.append(f"not {kernel.name}: {refusal}")
    raise ModelError(f"node {layer.name}: no kernel takes it ({'; '.join(refusals)})")


def _refusal(kernel: Kernel, layer: BinaryLayer) -> str | None:
    """Return why a kernel cannot run a layer here, or None."""
    missing = kernel.features - usable_features()
    return f"the CPU has no {', '.join(sorted(missing))}" if missing else kernel.takes(layer)
