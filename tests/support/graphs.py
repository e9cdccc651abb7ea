"""Building test models with plain onnx, the operators' functions taken from the stored file (no onnxscript needed)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from latentbit.runtime.bits import DOMAIN, OPSET_VERSION, pack_conv_weight, pack_signs
from latentbit.runtime.kernels.registry import KERNELS
from latentbit.runtime.machine.library import usable_features

STORED = Path(__file__).parents[1] / "data" / "operators.onnx"
FLOAT = onnx.TensorProto.FLOAT
USABLE = [kernel.name for kernel in KERNELS if kernel.features <= usable_features()]
"""The kernels that this CPU can run."""


class GraphMaker:
    """Collects nodes and constants; every method returns the name of the value it makes."""

    def __init__(self, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, array: NDArray[Any]) -> str:
        name = f"constant{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def node(self, op_type: str, inputs: Sequence[str], domain: str = "", **attributes: Any) -> str:
        name = f"{op_type.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(op_type, inputs, [f"{name}.out"], name, domain=domain, **attributes))
        return f"{name}.out"

    def per_channel(self, channels: int, rank: int = 4, low: float = -1.0, high: float = 1.0) -> str:
        values = self.rng.uniform(low, high, channels).astype(np.float32)
        return self.constant(values.reshape(channels, *(1,) * (rank - 2)))

    def binarize(self, value: str, channels: int, rank: int = 4) -> str:
        return self.node("Binarize", [value, self.per_channel(channels, rank)], DOMAIN)

    def _layer(self, weight: NDArray[Any], packed: NDArray[np.uint8], unit: bool) -> list[str]:
        outputs = len(weight)
        scale = np.ones(outputs) if unit else self.rng.normal(0, 0.3, outputs)
        bias = np.zeros(outputs) if unit else self.rng.normal(0, 1, outputs)
        return [self.constant(packed), *(self.constant(value.astype(np.float32)) for value in (scale, bias))]

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
        return self.node(
            "BinaryConv2d",
            [value, *self._layer(weight, pack_conv_weight(weight), unit)],
            DOMAIN,
            weight_shape=list(weight.shape),
            strides=list(strides),
            pads=list(pads),
            dilations=list(dilations),
            group=group,
            pad_value=float(pad_value),
        )

    def dense(self, value: str, weight: NDArray[Any], *, unit: bool = False) -> str:
        inputs = [value, *self._layer(weight, pack_signs(weight), unit)]
        return self.node("BinaryGemm", inputs, DOMAIN, weight_shape=list(weight.shape))

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
        graph = helper.make_graph(
            self.nodes,
            "test",
            [helper.make_tensor_value_info(name, FLOAT, shape) for name, shape in inputs.items()],
            [helper.make_tensor_value_info(name, FLOAT, None) for name in outputs],
            self.constants,
        )
        imports = [helper.make_opsetid("", 18), helper.make_opsetid(DOMAIN, options.pop("version", OPSET_VERSION))]
        functions = list(onnx.load(STORED).functions)
        model = helper.make_model(graph, ir_version=8, opset_imports=imports, functions=functions, **options)
        return onnx.shape_inference.infer_shapes(model)


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
