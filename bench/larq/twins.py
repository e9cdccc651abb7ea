"""What Larq Compute Engine runs in bench/larq/lce.py, built with larq and converted by its own converter.

Its files are NHWC. A chain of convolutions is read from the file of latentbit, so both engines hold the same weights;
the network has random ones. Pads are ones throughout: zero pads would cost its kernels a correction.
"""

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from latentbit.runtime.bits import unpack_conv_weight

# Both must stand before the first import: larq needs Keras 2, and what tensorflow says at its start is not about us.
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import larq
import larq_compute_engine
import tensorflow
from larq_compute_engine.mlir.python import tflite_schema
from larq_compute_engine.tflite.python.interpreter import Interpreter

tensorflow.get_logger().setLevel("ERROR")  # it warns that models which are only converted were not trained
layers = tensorflow.keras.layers
Array = NDArray[Any]

TUNED = {"use_indirect_bgemm": True, "use_xnnpack": True}
"""Its fastest setting on x86: the default kernel is a fallback there (measured beside it); XNNPACK runs float parts."""


def engine(data: bytes, x: Array, **settings: bool) -> Callable[[], Array]:
    """Return one inference on ``x`` [1, H, W, C], one thread.

    It calls the compiled interpreter itself: the Python around it copies the result once more.
    """
    interpreter = Interpreter(data, num_threads=1, **settings).interpreter
    return lambda: interpreter.predict([x])[0]


def _binary(value: Any, outputs: int, kernel: int, stride: int = 1) -> Any:
    layer = larq.layers.QuantConv2D(
        outputs,
        kernel,
        strides=stride,
        padding="same",
        pad_values=1.0,
        input_quantizer="ste_sign",
        kernel_quantizer="ste_sign",
        kernel_constraint="weight_clip",
        use_bias=False,
    )
    return layer(value)


def chain_twin(model: onnx.ModelProto) -> bytes:
    """Return the same chain of convolutions, scales, biases and shortcuts as in a file of bench/larq/files.py."""
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    first = value = layers.Input(_image(model), batch_size=1)
    shortcut = any(node.op_type == "Add" for node in model.graph.node)
    kernels = []
    for node in model.graph.node:
        if node.op_type == "BinaryConv2d":
            packed, scale, bias = (constants[name] for name in node.input[1:])
            kernels.append(_kernel(node, packed))
            # Plain arithmetic, not a batch norm: its epsilon would spoil the exact scales. Both are folded alike.
            result = _binary(value, len(scale), len(kernels[-1])) * scale + bias
            value = result + value if shortcut else result
    return _converted(first, value, kernels)


def lone_twin(model: onnx.ModelProto) -> bytes:
    """Return the first convolution of the chain alone, without scale and bias: its results are the integers."""
    node = next(node for node in model.graph.node if node.op_type == "BinaryConv2d")
    packed = next(numpy_helper.to_array(tensor) for tensor in model.graph.initializer if tensor.name == node.input[1])
    kernel = _kernel(node, packed)
    first = layers.Input(_image(model), batch_size=1)
    return _converted(first, _binary(first, kernel.shape[-1], len(kernel)), [kernel])


def _image(model: onnx.ModelProto) -> tuple[int, int, int]:
    _, channels, height, width = (size.dim_value for size in model.graph.input[0].type.tensor_type.shape.dim)
    return height, width, channels


def _kernel(node: onnx.NodeProto, packed: Array) -> Array:
    """Return the signs of a layer in the order of Keras: height, width, inputs, outputs."""
    shape = next(tuple(attribute.ints) for attribute in node.attribute if attribute.name == "weight_shape")
    return unpack_conv_weight(packed, shape).transpose(2, 3, 1, 0).astype(np.float32)


def _converted(first: Any, last: Any, kernels: list[Array]) -> bytes:
    model = tensorflow.keras.Model(first, last)
    model.set_weights(kernels)
    return _packed(model, len(kernels))


def _packed(model: Any, convolutions: int) -> bytes:
    """Convert, and see that every binary convolution became one: the converter leaves others float without a word."""
    data: bytes = larq_compute_engine.convert_keras_model(model)
    file = tflite_schema.ModelT.InitFromObj(tflite_schema.Model.GetRootAs(data, 0))
    names = [code.customCode for code in file.operatorCodes]
    found = sum(names[operator.opcodeIndex] == b"LceBconv2d" for operator in file.subgraphs[0].operators)
    assert found == convolutions, f"{found} of {convolutions} convolutions are binary in the converted file"
    return data


def resnet18(size: int) -> tuple[bytes, Callable[[Array], Array]]:
    """Return a binary ResNet-18 with random weights, and what larq itself, in floats, answers to [1, size, size, 3].

    Bi-Real Net (arXiv 1808.00278), the nearest to bench/harness/networks.py that its layers give: the same stem,
    widths, strides, shortcuts (average pool, float 1×1, batch norm) and head, without RSign and RPReLU.
    """
    tensorflow.keras.utils.set_random_seed(0)
    spread = tensorflow.keras.initializers

    def norm(value: Any) -> Any:
        layer = layers.BatchNormalization(
            gamma_initializer=spread.RandomUniform(0.5, 1.5),
            beta_initializer=spread.RandomNormal(0, 0.1),
            moving_mean_initializer=spread.RandomNormal(0, 0.1),
            moving_variance_initializer=spread.RandomUniform(0.5, 2),
        )
        return layer(value)

    first = layers.Input((size, size, 3), batch_size=1)
    value = norm(layers.Conv2D(64, 7, 2, "same", use_bias=False)(first))
    value = layers.MaxPool2D(3, 2, "same")(value)
    for stage, outputs in enumerate((64, 128, 256, 512)):
        for block in range(4):
            stride, shortcut = 2 if stage and not block else 1, value
            if stride == 2:
                shortcut = norm(layers.Conv2D(outputs, 1, use_bias=False)(layers.AvgPool2D(2)(value)))
            value = norm(_binary(value, outputs, 3, stride)) + shortcut
    value = layers.Dense(1000)(layers.GlobalAvgPool2D()(value))
    model = tensorflow.keras.Model(first, value)
    return _packed(model, 16), lambda x: model(x, training=False).numpy()
