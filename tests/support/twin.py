"""A graph and its answer, built together: every call writes a node and computes the value from its definition."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from latentbit.runtime.bits import DOMAIN

from . import integers
from .graph import Graph

__all__ = ["Twin", "Value"]

Array = NDArray[Any]


@dataclass(frozen=True)
class Value:
    """A value of the graph: its name in the file and what it must be."""

    name: str
    array: Array

    @property
    def channels(self) -> int:
        return int(self.array.shape[1])


class Twin:
    """Collects nodes, constants, inputs and outputs; ``rng`` draws the constants."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self._graph = Graph()
        self.inputs: list[Value] = []
        self.outputs: list[Value] = []

    # --- values drawn at random ---------------------------------------------------------------------------------

    def input(self, *shape: int) -> Value:
        """A real input; a tenth of its values are zeros of either sign, to meet thresholds exactly."""
        array = self.rng.normal(size=shape).astype(np.float32)
        array[self.rng.random(shape) < 0.05] = 0.0
        array[self.rng.random(shape) < 0.05] = -0.0
        value = Value(f"x{len(self.inputs)}", array)
        self.inputs.append(value)
        return value

    def signs(self, *shape: int) -> Array:
        return self.rng.choice(np.array([-1, 1]), shape)

    def scales(self, count: int) -> Array:
        """Negative, positive, tiny and zero ones."""
        scale = self.rng.normal(0, 0.2, count).astype(np.float32)
        scale[self.rng.random(count) < 0.1] = 0.0
        return scale

    def shifts(self, count: int) -> Array:
        """Multiples of a quarter, so that sums meet thresholds exactly."""
        return (self.rng.integers(-8, 9, count) / 4).astype(np.float32)

    # --- nodes --------------------------------------------------------------------------------------------------

    def binarize(self, x: Value, threshold: Array | None = None) -> Value:
        t = self.shifts(x.channels) if threshold is None else threshold
        return self._node("Binarize", [x.name, self._per_channel(t, x)], integers.binarize(x.array, t), DOMAIN)

    def conv(
        self,
        x: Value,
        outputs: int,
        kernel: tuple[int, int] = (3, 3),
        *,
        strides: tuple[int, int] = (1, 1),
        pads: tuple[int, int, int, int] = (0, 0, 0, 0),
        dilations: tuple[int, int] = (1, 1),
        group: int = 1,
        pad_value: int = 0,
        real: bool = False,
    ) -> Value:
        """BinaryConv2d, or with ``real`` BinaryWeightConv2d."""
        weight = self.signs(outputs, x.channels // group, *kernel)
        scale, bias = self.scales(outputs), self.shifts(outputs)
        x_exact = x.array.astype(np.float64 if real else np.int64)
        acc = integers.accumulate_conv(x_exact, weight, strides, pads, dilations, group, pad_value)
        attributes: dict[str, Any] = {"strides": strides, "pads": pads, "dilations": dilations, "group": group}
        if not real:
            attributes["pad_value"] = float(pad_value)
        op_type = "BinaryWeightConv2d" if real else "BinaryConv2d"
        name = self._graph.binary(op_type, x.name, weight, scale, bias, **attributes)
        return Value(name, integers.affine(acc, scale, bias))

    def gemm(self, x: Value, outputs: int, *, real: bool = False) -> Value:
        """BinaryGemm, or with ``real`` BinaryWeightGemm."""
        weight = self.signs(outputs, x.channels)
        scale, bias = self.scales(outputs), self.shifts(outputs)
        acc = integers.accumulate_gemm(x.array.astype(np.float64 if real else np.int64), weight)
        name = self._graph.binary("BinaryWeightGemm" if real else "BinaryGemm", x.name, weight, scale, bias)
        return Value(name, integers.affine(acc, scale, bias))

    def rprelu(self, x: Value) -> Value:
        """Sub, PRelu, Add; some slopes are negative, which no threshold can stand for."""
        a, c = self.shifts(x.channels), self.shifts(x.channels)
        slope = self.rng.choice(np.array([-0.5, 0.0, 0.25, 1.0], np.float32), x.channels)
        zero, one = np.zeros_like(a), np.ones_like(a)
        y = self._node("Sub", [x.name, self._per_channel(a, x)], integers.rprelu(x.array, a, one, zero))
        y = self._node("PRelu", [y.name, self._per_channel(slope, x)], integers.rprelu(y.array, zero, slope, zero))
        return self._node("Add", [y.name, self._per_channel(c, x)], integers.rprelu(y.array, zero, one, c))

    def add(self, x: Value, y: Value) -> Value:
        return self._node("Add", [x.name, y.name], x.array + y.array)

    def max_pool(self, x: Value, size: int, stride: int, pad: int) -> Value:
        window = {"kernel_shape": [size, size], "strides": [stride, stride], "pads": [pad] * 4}
        return self._node("MaxPool", [x.name], integers.max_pool(x.array, size, stride, pad), **window)

    def concat(self, *values: Value) -> Value:
        array = np.concatenate([value.array for value in values], axis=1)
        return self._node("Concat", [value.name for value in values], array, axis=1)

    def flatten(self, x: Value) -> Value:
        return self._node("Flatten", [x.name], x.array.reshape(len(x.array), -1), axis=1)

    def output(self, value: Value) -> None:
        self.outputs.append(value)

    def model(self, symbolic_image: bool = False) -> onnx.ModelProto:
        """The graph so far, with a symbolic batch."""

        def shape(value: Value, is_input: bool) -> list[int | str | None]:
            sizes: list[int | str | None] = ["N", *value.array.shape[1:]]
            if symbolic_image and len(sizes) == 4:
                sizes[2:] = ["H", "W"] if is_input else [None, None]
            return sizes

        inputs = {value.name: shape(value, True) for value in self.inputs}
        outputs = {value.name: shape(value, False) for value in self.outputs}
        return self._graph.build(inputs, outputs, name="case", producer_name="latentbit")

    def _node(self, op_type: str, inputs: list[str], array: Array, domain: str = "", **attributes: Any) -> Value:
        return Value(self._graph.node(op_type, inputs, domain, **attributes), array)

    def _per_channel(self, values: Array, x: Value) -> str:
        return self._graph.constant(values.reshape(-1, *[1] * (x.array.ndim - 2)))
