"""The operators as such: documented, checkable, with static shapes behind a symbolic batch."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from latentbit.export.opset import ONNX_OPSET, functions
from latentbit.runtime.bits import DOMAIN, OPSET_VERSION, pack_conv_weight, pack_signs


def one_node(
    op_type: str, x: list[int | str], constants: dict[str, np.ndarray], **attributes: object
) -> onnx.ModelProto:
    names = ["x", *constants]
    graph = helper.make_graph(
        [helper.make_node(op_type, names, ["y"], domain=DOMAIN, **attributes)],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * len(x))],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    imports = [helper.make_opsetid("", ONNX_OPSET), helper.make_opsetid(DOMAIN, OPSET_VERSION)]
    return helper.make_model(graph, opset_imports=imports, functions=functions(), ir_version=8)


def output_shape(model: onnx.ModelProto) -> list[int | str]:
    onnx.checker.check_model(model, full_check=True)
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, check_type=True, data_prop=True)
    return [d.dim_param or d.dim_value for d in inferred.graph.output[0].type.tensor_type.shape.dim]


def test_every_function_is_documented_and_of_our_domain() -> None:
    for function in functions():
        assert function.domain == DOMAIN
        assert function.doc_string.startswith("Y = ")
        assert [(o.domain, o.version) for o in function.opset_import] == [("", ONNX_OPSET)]
        assert not function.attribute_proto, "every attribute is required: onnx.reference ignores defaults"


@pytest.mark.parametrize(("group", "stride", "dilation"), [(1, 1, 1), (3, 2, 1), (9, 1, 2)])
def test_shapes_are_inferred_with_a_symbolic_batch(group: int, stride: int, dilation: int) -> None:
    weight = np.ones((18, 9 // group, 3, 2), np.float32)
    constants = {"W": pack_conv_weight(weight), "s": np.ones(18, np.float32), "b": np.zeros(18, np.float32)}
    model = one_node(
        "BinaryConv2d",
        ["N", 9, 11, 13],
        constants,
        weight_shape=list(weight.shape),
        strides=[stride, 1],
        pads=[1, 0, 2, 1],
        dilations=[dilation, 1],
        group=group,
        pad_value=-1.0,
    )
    height = (11 + 3 - dilation * 2 - 1) // stride + 1
    assert output_shape(model) == ["N", 18, height, 13]


def test_shapes_of_the_dense_operators() -> None:
    weight = np.ones((5, 13), np.float32)
    constants = {"W": pack_signs(weight), "s": np.ones(5, np.float32), "b": np.zeros(5, np.float32)}
    assert output_shape(one_node("BinaryGemm", ["N", 13], constants, weight_shape=[5, 13])) == ["N", 5]
    threshold = {"t": np.zeros((4, 1, 1), np.float32)}
    assert output_shape(one_node("Binarize", ["N", 4, 6, 7], threshold)) == ["N", 4, 6, 7]
