"""Networks to measure: the binary ones of latentbit.training, and the float ones of the same architecture."""

from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper

from latentbit.export import export_onnx
from latentbit.training.models import build_model

FLOAT = onnx.TensorProto.FLOAT


def binary_resnet18(path: Path, size: int, **options: object) -> Path:
    """Write a binary ResNet-18 with random weights for size × size images to ``path``."""
    torch.manual_seed(0)
    network = build_model("resnet18", **options).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    return export_onnx(network, torch.zeros(1, 3, size, size), path)


class FloatResNet18:
    """Builds the float ResNet-18 (He et al., arXiv 1512.03385), batch norms folded, as every float user deploys it."""

    def __init__(self, size: int, classes: int, cifar: bool) -> None:
        self.rng = np.random.default_rng(0)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.size, self.classes, self.cifar = size, classes, cifar

    def weight(self, *shape: int) -> str:
        name = f"w{len(self.weights)}"
        spread = np.sqrt(2 / np.prod(shape[1:])) if len(shape) > 1 else 0.0
        self.weights.append(numpy_helper.from_array((self.rng.standard_normal(shape) * spread).astype(np.float32), name))
        return name

    def node(self, op_type: str, inputs: list[str], **attributes: object) -> str:
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op_type, inputs, [name], **attributes))
        return name

    def conv(self, value: str, inputs: int, outputs: int, kernel: int, stride: int) -> str:
        weights = [self.weight(outputs, inputs, kernel, kernel), self.weight(outputs)]
        pads = [kernel // 2] * 4
        return self.node("Conv", [value, *weights], kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=pads)

    def model(self) -> onnx.ModelProto:
        """Return the model: input ``input``, output ``logits``."""
        if self.cifar:
            value = self.node("Relu", [self.conv("input", 3, 64, 3, 1)])
        else:
            value = self.node("Relu", [self.conv("input", 3, 64, 7, 2)])
            value = self.node("MaxPool", [value], kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
        width = 64
        for stage, outputs in enumerate((64, 128, 256, 512)):
            for block in range(2):
                stride = 2 if stage and not block else 1
                inner = self.node("Relu", [self.conv(value, width, outputs, 3, stride)])
                inner = self.conv(inner, outputs, outputs, 3, 1)
                shortcut = value if stride == 1 else self.conv(value, width, outputs, 1, stride)
                value = self.node("Relu", [self.node("Add", [inner, shortcut])])
                width = outputs
        value = self.node("Flatten", [self.node("GlobalAveragePool", [value])])
        weights = [self.weight(self.classes, 512), self.weight(self.classes)]
        self.nodes.append(helper.make_node("Gemm", [value, *weights], ["logits"], transB=1))
        shape, result = [1, 3, self.size, self.size], [1, self.classes]
        graph = helper.make_graph(
            self.nodes,
            "float_resnet18",
            [helper.make_tensor_value_info("input", FLOAT, shape)],
            [helper.make_tensor_value_info("logits", FLOAT, result)],
            self.weights,
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
