"""A graph and its answer, built together: every call writes a node and computes the value from its definition."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from latentbit.runtime.bits import DOMAIN, OPSET_VERSION, pack_conv_weight, pack_signs

from . import integers

__all__ = ["Twin", "Value"]

OPERATORS = Path(__file__).parents[1] / "data" / "operators.onnx"
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
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []
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
        names = [x.name, *map(self._constant, (pack_conv_weight(weight), scale, bias))]
        attributes: dict[str, Any] = {"weight_shape": list(weight.shape), "strides": list(strides), "pads": list(pads)}
        attributes |= {"dilations": list(dilations), "group": group}
        if not real:
            attributes["pad_value"] = float(pad_value)
        op_type = "BinaryWeightConv2d" if real else "BinaryConv2d"
        return self._node(op_type, names, integers.affine(acc, scale, bias), DOMAIN, **attributes)

    def gemm(self, x: Value, outputs: int, *, real: bool = False) -> Value:
        """BinaryGemm, or with ``real`` BinaryWeightGemm."""
        weight = self.signs(outputs, x.channels)
        scale, bias = self.scales(outputs), self.shifts(outputs)
        acc = integers.accumulate_gemm(x.array.astype(np.float64 if real else np.int64), weight)
        names = [x.name, *map(self._constant, (pack_signs(weight), scale, bias))]
        op_type = "BinaryWeightGemm" if real else "BinaryGemm"
        shape = list(weight.shape)
        return self._node(op_type, names, integers.affine(acc, scale, bias), DOMAIN, weight_shape=shape)

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

        def info(value: Value, is_input: bool) -> onnx.ValueInfoProto:
            sizes: list[int | str | None] = ["N", *value.array.shape[1:]]
            if symbolic_image and len(sizes) == 4:
                sizes[2:] = ["H", "W"] if is_input else [None, None]
            return helper.make_tensor_value_info(value.name, TensorProto.FLOAT, sizes)

        graph = helper.make_graph(
            self._nodes,
            "case",
            [info(value, True) for value in self.inputs],
            [info(value, False) for value in self.outputs],
            self._constants,
        )
        used = {node.op_type for node in self._nodes if node.domain == DOMAIN}
        return helper.make_model(
            graph,
            ir_version=8,
            opset_imports=[helper.make_opsetid("", 18), helper.make_opsetid(DOMAIN, OPSET_VERSION)],
            functions=[f for f in onnx.load(OPERATORS).functions if f.name in used],
            producer_name="latentbit",
        )

    def _node(self, op_type: str, inputs: list[str], array: Array, domain: str = "", **attributes: Any) -> Value:
        name = f"{op_type.lower()}{len(self._nodes)}"
        self._nodes.append(helper.make_node(op_type, inputs, [f"{name}.out"], name, domain=domain, **attributes))
        return Value(f"{name}.out", array)

    def _constant(self, array: Array) -> str:
        name = f"c{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def _per_channel(self, values: Array, x: Value) -> str:
        return self._constant(values.reshape(-1, *[1] * (x.array.ndim - 2)))
