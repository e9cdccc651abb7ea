"""Test models whose constants are drawn at random, and the kernels that can run them here."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from latentbit.runtime.bits import DOMAIN, OPSET_VERSION
from latentbit.runtime.kernels.registry import KERNELS
from latentbit.runtime.machine.library import usable_features

from .graph import STORED, Graph

__all__ = ["STORED", "USABLE", "GraphMaker", "chain"]

USABLE = [kernel.name for kernel in KERNELS if kernel.features <= usable_features()]
"""The kernels that this CPU can run."""


class GraphMaker(Graph):
    """Draws thresholds, scales, biases and slopes as it writes; ``unit``: scale 1 and bias 0, the integers come out."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.rng = np.random.default_rng(seed)

    def per_channel(self, channels: int, rank: int = 4, low: float = -1.0, high: float = 1.0) -> str:
        values = self.rng.uniform(low, high, channels).astype(np.float32)
        return self.constant(values.reshape(channels, *(1,) * (rank - 2)))

    def binarize(self, value: str, channels: int, rank: int = 4) -> str:
        return self.node("Binarize", [value, self.per_channel(channels, rank)], DOMAIN)

    def _scale_and_bias(self, outputs: int, unit: bool) -> tuple[NDArray[Any], NDArray[Any]]:
        if unit:
            return np.ones(outputs), np.zeros(outputs)
        return self.rng.normal(0, 0.3, outputs), self.rng.normal(0, 1, outputs)

    def conv(
        self,
        value: str,
        weight: NDArray[Any],
        *,
        strides: tuple[int, int] = (1, 1),
        pads: tuple[int, int, int, int] = (0, 0, 0, 0),
        dilations: tuple[int, int] = (1, 1),
        group: int = 1,
        pad_value: int = 0,
        unit: bool = False,
    ) -> str:
        return self.binary(
            "BinaryConv2d",
            value,
            weight,
            *self._scale_and_bias(len(weight), unit),
            strides=strides,
            pads=pads,
            dilations=dilations,
            group=group,
            pad_value=float(pad_value),
        )

    def dense(self, value: str, weight: NDArray[Any], *, unit: bool = False) -> str:
        return self.binary("BinaryGemm", value, weight, *self._scale_and_bias(len(weight), unit))

    def signs(self, *shape: int) -> NDArray[np.int8]:
        return self.rng.choice(np.array([-1, 1], np.int8), shape)

    def floats(self, *shape: int) -> NDArray[np.float32]:
        return self.rng.standard_normal(shape).astype(np.float32)

    def rprelu(self, value: str, channels: int, rank: int = 4) -> str:
        value = self.node("Sub", [value, self.per_channel(channels, rank)])
        value = self.node("PRelu", [value, self.per_channel(channels, rank, -0.5, 0.5)])
        return self.node("Add", [value, self.per_channel(channels, rank)])

    def model(
        self, inputs: Mapping[str, Sequence[int | str]], outputs: Sequence[str], **options: Any
    ) -> onnx.ModelProto:
        """Return the model; shapes are inferred onto every value, as the exporter writes them."""
        domains = {DOMAIN: options.pop("version", OPSET_VERSION)}
        return onnx.shape_inference.infer_shapes(self.build(inputs, dict.fromkeys(outputs), domains=domains, **options))


def chain(seed: int = 0, channels: int = 12, size: int = 8, pad_value: int = 0) -> onnx.ModelProto:
    """Return a small residual network: two blocks, a strided one with a float downsample, dense binary head."""
    maker = GraphMaker(seed)
    value, width = "input", channels
    for stride, outputs in ((1, channels), (2, 2 * channels)):
        signs = maker.binarize(value, width)
        weight = maker.signs(outputs, width, 3, 3)
        total = maker.conv(signs, weight, strides=(stride, stride), pads=(1, 1, 1, 1), pad_value=pad_value)
        if stride == 2:
            value = maker.node("AveragePool", [value], kernel_shape=[2, 2], strides=[2, 2])
            value = maker.node("Conv", [value, maker.constant(maker.floats(outputs, width, 1, 1))])
        value = maker.rprelu(maker.node("Add", [total, value]), outputs)
        width = outputs
    value = maker.node("Flatten", [maker.node("GlobalAveragePool", [value])])
    value = maker.dense(maker.binarize(value, width, rank=2), maker.signs(10, width))
    maker.nodes[-1].output[0] = "logits"
    return maker.model({"input": ["N", channels, size, size]}, ["logits"])
