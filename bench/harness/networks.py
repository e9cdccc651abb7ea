"""Networks to measure: the binary ones of latentbit.training, and the float ones of the same architecture."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import torch

from latentbit.export import export_onnx
from latentbit.training.handover.pixels import Pixels
from latentbit.training.models.catalogue import build_model
from tests.support.graph import Graph


def binary_resnet18(path: Path, size: int, *, exact: bool = False, **options: object) -> Path:
    """Write a binary ResNet-18 with random weights for size × size images to ``path``.

    exact: uint8 pixels as input, int8 stem and binary shortcuts: exact in integers up to the last layer.
    """
    if exact:
        options["downsample"] = "binary"
    torch.manual_seed(0)
    network = build_model("resnet18", **options).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    if not exact:
        return export_onnx(network, torch.zeros(1, 3, size, size), path, prove=False)
    pixels = Pixels((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    example = torch.zeros((1, size, size, 3), dtype=torch.uint8)
    return export_onnx(network, example, path, pixels=pixels, exact_stem=True, prove=False)


def openvino_binary_resnet18(x: np.ndarray, threads: int) -> Callable[[], object] | None:
    """Return one inference of OpenVINO on a binary ResNet-18 of the same shape, None without openvino.

    Built by hand, for nothing converts to its BinaryConvolution: scale and shift, average-pool shortcuts, no RPReLU.
    """
    try:
        import openvino as ov
        from openvino import opset1 as op
    except ModuleNotFoundError:
        return None
    rng = np.random.default_rng(0)

    def constant(values: np.ndarray) -> object:
        return op.constant(np.asarray(values, np.float32))

    def norm(value: object, channels: int) -> object:
        scaled = op.multiply(value, constant(rng.uniform(0.5, 1.5, (1, channels, 1, 1))))
        return op.add(scaled, constant(rng.normal(0, 0.1, (1, channels, 1, 1))))

    def conv(value: object, inputs: int, outputs: int, side: int, stride: int) -> object:
        weight = constant(rng.normal(0, 0.05, (outputs, inputs, side, side)))
        return op.convolution(value, weight, [stride] * 2, [side // 2] * 2, [side // 2] * 2, [1, 1])

    def binary(value: object, inputs: int, outputs: int, stride: int) -> object:
        zero, low, high = (constant(np.full((1, inputs if not i else 1, 1, 1), i // 2)) for i in range(3))
        bits = op.fake_quantize(value, zero, zero, low, high, 2)
        shape = [outputs, inputs, 3, 3]
        weight = ov.op.Constant(ov.Type.u1, ov.Shape(shape), rng.integers(0, 2, int(np.prod(shape))).tolist())
        return op.binary_convolution(bits, weight, [stride] * 2, [1, 1], [1, 1], [1, 1], "xnor-popcount", -1.0)

    first = op.parameter(list(x.shape), np.float32)
    value = op.relu(norm(conv(first, 3, 64, 7, 2), 64))
    value, width = op.max_pool(value, [2, 2], [1, 1], [1, 1], [3, 3], "floor"), 64
    for stage, outputs in enumerate((64, 128, 256, 512)):
        for block in range(4):
            stride = 2 if stage and not block else 1
            shortcut = value
            if stride == 2:
                shortcut = op.avg_pool(value, [2, 2], [0, 0], [0, 0], [2, 2], True, "floor")
                shortcut = norm(conv(shortcut, width, outputs, 1, 1), outputs)
            value, width = op.add(norm(binary(value, width, outputs, stride), outputs), shortcut), outputs
    value = op.reduce_mean(value, op.constant(np.array([2, 3], np.int64)), False)
    value = op.matmul(value, constant(rng.normal(0, 0.05, (512, 1000))), False, False)
    hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}
    request = ov.Core().compile_model(ov.Model([value], [first], "net"), "CPU", hints).create_infer_request()
    return lambda: request.infer({0: x})


class FloatResNet18:
    """Builds the float ResNet-18 (He et al., arXiv 1512.03385), batch norms folded, as every float user deploys it."""

    def __init__(self, size: int, classes: int, cifar: bool, batch: int = 1) -> None:
        self.rng, self.graph = np.random.default_rng(0), Graph()
        self.size, self.classes, self.cifar, self.batch = size, classes, cifar, batch

    def _weight(self, *shape: int) -> str:
        spread = np.sqrt(2 / np.prod(shape[1:])) if len(shape) > 1 else 0.0
        return self.graph.constant(self.rng.standard_normal(shape) * spread)

    def _conv(self, value: str, inputs: int, outputs: int, kernel: int, stride: int) -> str:
        weights = [self._weight(outputs, inputs, kernel, kernel), self._weight(outputs)]
        pads = [kernel // 2] * 4
        return self.graph.node("Conv", [value, *weights], kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=pads)

    def model(self) -> onnx.ModelProto:
        """Return the model: input ``input``, output ``logits.out``."""
        if self.cifar:
            value = self.graph.node("Relu", [self._conv("input", 3, 64, 3, 1)])
        else:
            value = self.graph.node("Relu", [self._conv("input", 3, 64, 7, 2)])
            value = self.graph.node("MaxPool", [value], kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
        width = 64
        for stage, outputs in enumerate((64, 128, 256, 512)):
            for block in range(2):
                stride = 2 if stage and not block else 1
                inner = self.graph.node("Relu", [self._conv(value, width, outputs, 3, stride)])
                inner = self._conv(inner, outputs, outputs, 3, 1)
                shortcut = value if stride == 1 else self._conv(value, width, outputs, 1, stride)
                value = self.graph.node("Relu", [self.graph.node("Add", [inner, shortcut])])
                width = outputs
        value = self.graph.node("Flatten", [self.graph.node("GlobalAveragePool", [value])])
        weights = [self._weight(self.classes, 512), self._weight(self.classes)]
        value = self.graph.node("Gemm", [value, *weights], name="logits", transB=1)
        shape, result = [self.batch, 3, self.size, self.size], [self.batch, self.classes]
        return self.graph.build({"input": shape}, {value: result}, domains={})
