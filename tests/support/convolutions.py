"""A binary convolution as a test draws it: its geometry, and its sums by the definition."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator

from .graphs import GraphMaker
from .integers import accumulate_conv

__all__ = ["Case", "Layer"]


@dataclass(frozen=True)
class Case:
    """The geometry of one convolution; ``inputs`` and ``outputs`` are channels of a group."""

    batch: int
    group: int
    inputs: int
    outputs: int
    kernel: tuple[int, int]
    strides: tuple[int, int]
    pads: tuple[int, int, int, int]
    dilations: tuple[int, int]
    size: tuple[int, int]
    pad_value: int

    @property
    def geometry(self) -> dict[str, Any]:
        """The keywords by which builders and the definition take a convolution."""
        return {name: getattr(self, name) for name in ("strides", "pads", "dilations", "group", "pad_value")}

    def sums(self, x: NDArray[Any], w: NDArray[Any]) -> NDArray[np.int64]:
        """Return what the layer must count: x ``[N, C, H, W]`` and w ``[O, C/group, kh, kw]`` of ±1."""
        sums: NDArray[np.int64] = accumulate_conv(x.astype(np.int64), w, **self.geometry)
        return sums

    def layer(self, seed: int) -> "Layer":
        """Return a model of such a convolution over signs, with weights and an input drawn by ``seed``."""
        maker = GraphMaker(seed)
        channels = self.group * self.inputs
        w = maker.signs(self.group * self.outputs, self.inputs, *self.kernel)
        signs = maker.node("Binarize", ["input", maker.constant(np.zeros((1, 1, 1), np.float32))], "ai.latentbit")
        sums, scaled = maker.conv(signs, w, unit=True, **self.geometry), maker.conv(signs, w, **self.geometry)
        model = maker.model({"input": ["N", channels, *self.size]}, [sums, scaled])
        x = maker.signs(self.batch, channels, *self.size)
        return Layer(model, {"input": x.astype(np.float32)}, x, self.sums(x, w))


@dataclass(frozen=True)
class Layer:
    """A model of one convolution whose outputs are its sums and these scaled; ``x`` is the input, of ±1."""

    model: onnx.ModelProto
    feeds: dict[str, NDArray[Any]]
    x: NDArray[Any]
    sums: NDArray[np.int64]

    def check(self, found: Sequence[NDArray[Any]]) -> None:
        """Hold answers to the integers and to onnx.reference on the very file."""
        np.testing.assert_array_equal(found[0], self.sums)
        for ours, theirs in zip(found, ReferenceEvaluator(self.model).run(None, self.feeds), strict=True):
            np.testing.assert_array_equal(ours, theirs)
