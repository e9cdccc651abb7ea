"""The models that are altered: small, and of every kind of part that a plan knows."""

import numpy as np
import onnx

from .graphs import GraphMaker, chain

__all__ = ["BASES", "EXACT", "FIRST_BASES", "LAST_BASES", "plain"]


def plain() -> onnx.ModelProto:
    """Return a network whose answers are exact on every engine: pools, residuals, groups, a dense head."""
    maker = GraphMaker(1)
    first = maker.conv(maker.binarize("input", 8), maker.signs(8, 8, 3, 3), pads=(1, 1, 1, 1), unit=True)
    value = maker.rprelu(maker.node("Add", [first, "input"]), 8)
    value = maker.node("MaxPool", [value], kernel_shape=[2, 2], strides=[2, 2])
    value = maker.conv(maker.binarize(value, 8), maker.signs(8, 2, 2, 2), group=4, unit=True)
    value = maker.conv(maker.binarize(value, 8), maker.signs(16, 8, 1, 1), unit=True)
    value = maker.node("Flatten", [maker.node("GlobalMaxPool", [value])])
    maker.dense(maker.binarize(value, 16, rank=2), maker.signs(4, 16), unit=True)
    maker.nodes[-1].output[0] = "logits"
    return maker.model({"input": ["N", 8, "H", "W"]}, ["logits"])


def pixels() -> onnx.ModelProto:
    """Return an exact stem over pixels with a pool, and a binary layer on it."""
    maker = GraphMaker(2)
    value = maker.node("Cast", [maker.node("Transpose", ["input"], perm=[0, 3, 1, 2])], to=onnx.TensorProto.FLOAT)
    value = maker.node("Sub", [value, maker.constant(np.full((3, 1, 1), 128.0))])
    weight = maker.constant(maker.rng.integers(-9, 9, (8, 3, 3, 3)).astype(np.float32))
    value = maker.node("Conv", [value, weight], kernel_shape=[3, 3], strides=[1, 1], pads=[1, 1, 1, 1])
    value = maker.node("Mul", [maker.node("Round", [value]), maker.constant(np.full((8, 1, 1), 0.25))])
    value = maker.node("Add", [value, maker.per_channel(8)])
    value = maker.node("MaxPool", [value], kernel_shape=[2, 2], strides=[2, 2])
    out = maker.conv(maker.binarize(value, 8), maker.signs(8, 8, 1, 1), unit=True)
    model = maker.build({"input": ["N", "H", "W", 3]}, {out: None})
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.UINT8
    return onnx.shape_inference.infer_shapes(model)


def movers() -> onnx.ModelProto:
    """Return layers behind operators that only move signs: all that may stand between a Binarize and its layer."""
    maker = GraphMaker(3)
    signs = maker.binarize("input", 8)
    signs = maker.node("MaxPool", [signs], kernel_shape=[2, 2], dilations=[2, 1], pads=[1, 0, 1, 1])
    turned = maker.node("Gather", [signs, maker.constant(np.arange(7, -1, -1))], axis=1)
    wide = maker.node("Concat", [signs, maker.node("Identity", [turned])], axis=1)
    wide = maker.node("Resize", [wide, "", maker.constant(np.array([1.0, 1.0, 2.0, 1.0]))], mode="nearest")
    value = maker.conv(wide, maker.signs(16, 16, 3, 3), pads=(1, 1, 1, 1), pad_value=1, unit=True)
    ends = [maker.constant(np.array(one)) for one in ([2], [14], [1])]
    part = maker.node("Dropout", [maker.node("Slice", [maker.binarize(value, 16), *ends])])
    value = maker.node("Relu", [maker.conv(part, maker.signs(8, 12, 1, 1), unit=True)])
    maker.nodes.append(onnx.helper.make_node("Identity", [value], ["middle"], "middle"))
    value = maker.node("GlobalMaxPool", [maker.binarize(value, 8)])
    value = maker.node("Squeeze", [value, maker.constant(np.array([2, 3]))])
    maker.dense(value, maker.signs(4, 8), unit=True)
    maker.nodes[-1].output[0] = "logits"
    return maker.model({"input": ["N", 8, "H", "W"]}, ["logits", "middle"])


def levels() -> onnx.ModelProto:
    """Return an activation of two thresholds, two layers that are added, and a layer whose weights alone are binary."""
    maker = GraphMaker(4)
    twice = maker.node("Concat", ["input", "input"], axis=1)
    one = maker.conv(maker.binarize(twice, 16), maker.signs(64, 16, 3, 3), pads=(1, 1, 1, 1), pad_value=-1, unit=True)
    two = maker.conv(maker.binarize("input", 8), maker.signs(64, 8, 1, 1), unit=True)
    value = maker.node("Relu", [maker.node("Add", [one, two])])
    value = maker.node("MaxPool", [value], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    value = maker.binarize(value, 64)
    value = maker.conv(value, maker.signs(16, 64, 2, 2), dilations=(2, 1), pads=(1, 1, 1, 1), unit=True)
    value = maker.binary(
        "BinaryWeightConv2d", value, maker.signs(8, 16, 1, 1), np.ones(8), np.zeros(8),
        strides=[1, 1], pads=[0, 0, 0, 0], dilations=[1, 1], group=1,
    )  # fmt: skip
    maker.nodes.append(onnx.helper.make_node("Identity", [value], ["logits"], "last"))
    return maker.model({"input": ["N", 8, 6, 7]}, ["logits"])


def natives() -> onnx.ModelProto:
    """Return what runs between packed layers without onnxruntime: stages of every kind, splits and shuffles."""
    maker = GraphMaker(5)
    value = maker.conv(maker.binarize("input", 8), maker.signs(8, 8, 3, 3), pads=(1, 1, 1, 1), pad_value=1, unit=True)
    value = maker.node("Mul", [value, maker.per_channel(8)])
    value = maker.node("Clip", [value, maker.constant(np.float32(-4)), maker.constant(np.float32(5))])
    maker.nodes.append(onnx.helper.make_node("Split", [value], ["left", "right"], "split", axis=1, num_outputs=2))
    right = maker.node("HardSwish", [maker.node("Sub", ["right", maker.per_channel(4)])])
    wide = maker.node("Concat", ["left", right, value], axis=1)
    sizes = [maker.constant(np.array([0, *groups, 6, 7])) for groups in ((4, 4), (16,))]
    turned = maker.node("Transpose", [maker.node("Reshape", [wide, sizes[0]])], perm=[0, 2, 1, 3, 4])
    value = maker.node("Reshape", [turned, sizes[1]])
    ends = [maker.constant(np.array([each])) for each in (1, 2**31, 1, 2)]
    value = maker.node("Div", [maker.node("Slice", [value, *ends]), maker.per_channel(8, low=0.5)])
    value = maker.node("Add", [maker.node("HardSigmoid", [value]), "input"])
    value = maker.node("LeakyRelu", [maker.conv(maker.binarize(value, 8), maker.signs(16, 8, 1, 1), unit=True)])
    maker.conv(maker.binarize(value, 16), maker.signs(8, 16, 3, 3), unit=True)
    maker.nodes[-1].output[0] = "logits"
    return maker.model({"input": ["N", 8, 6, 7]}, ["logits"])


def edges() -> onnx.ModelProto:
    """Return two inputs that meet in residuals, in fused and native steps and in front of a pool."""
    maker = GraphMaker(6)
    one, two = (
        maker.node("Add", [maker.conv(maker.binarize("input", 8), maker.signs(8, 8, 1, 1), unit=True), beside])
        for beside in ("input", "residual")
    )
    one = maker.node("Relu", [one])
    value = maker.node("Sub", [maker.node("Clip", [one, maker.constant(np.float32(-1))]), two])
    value = maker.node("LeakyRelu", [maker.node("Mul", [maker.node("HardSwish", [value]), one])])
    head = maker.conv(maker.binarize(value, 8), maker.signs(16, 8, 3, 3), pads=(1, 1, 1, 1), pad_value=1, unit=True)
    signs = maker.node("MaxPool", [maker.binarize(value, 8)], kernel_shape=[2, 2])
    tail = maker.rprelu(maker.conv(signs, maker.signs(8, 8, 1, 1), unit=True), 8)
    pooled = maker.node("MaxPool", [two], kernel_shape=[3, 3], strides=[2, 2])
    small = maker.conv(maker.binarize(pooled, 8), maker.signs(8, 8, 1, 1), unit=True)
    names = ["value", "head", "tail", "small"]
    for given, name in zip((value, head, tail, small), names, strict=True):
        maker.nodes.append(onnx.helper.make_node("Identity", [given], [name], f"last {name}"))
    return maker.model({"input": ["N", 8, 6, 7], "residual": ["N", 8, 6, 7]}, names)


FIRST_BASES = (plain, pixels, chain)
"""What was altered at first, by turns."""

BASES = (*FIRST_BASES, movers, levels, natives)
"""What was altered then."""

LAST_BASES = (*BASES, edges)
"""What is altered with special values in its inputs."""

EXACT = (plain, pixels, movers, levels, natives, edges)
"""Those whose answers are exact on every engine; ``chain`` has a float shortcut, whose sums are not onnxruntime's."""
