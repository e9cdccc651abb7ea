"""A body in a file that is not the definition of its operator is refused; how it is written does not matter."""

from collections.abc import Callable

import onnx
import pytest
from onnx import helper

from latentbit.runtime.errors import ModelError
from latentbit.runtime.intake.bodies import body_digest, check_bodies
from latentbit.runtime.operators import SIGNATURES
from latentbit.runtime.session import InferenceSession

from ...support.graph import STORED
from ...support.graphs import chain

Change = Callable[[onnx.FunctionProto], None]


def stored(name: str) -> onnx.FunctionProto:
    return next(function for function in onnx.load(STORED).functions if function.name == name)


def first(body: onnx.FunctionProto, op_type: str) -> onnx.NodeProto:
    return next(node for node in body.node if node.op_type == op_type)


def bias_is_subtracted(body: onnx.FunctionProto) -> None:
    body.node[-1].op_type = "Sub"


def accumulator_is_negated(body: onnx.FunctionProto) -> None:
    first(body, "Round").op_type = "Neg"


def a_bit_of_a_constant(body: onnx.FunctionProto) -> None:
    first(body, "BitShift")
    tensor = next(entry.t for node in body.node for entry in node.attribute if entry.t.name == "shifts")
    tensor.int32_data[3] = 4


def a_number_is_another(body: onnx.FunctionProto) -> None:
    next(entry for node in body.node for entry in node.attribute if entry.name == "value_float").f = 1.0000001


def another_attribute_is_read(body: onnx.FunctionProto) -> None:
    next(entry for entry in first(body, "Conv").attribute if entry.name == "strides").ref_attr_name = "dilations"


def inputs_change_places(body: onnx.FunctionProto) -> None:
    body.input[2], body.input[3] = body.input[3], body.input[2]


def another_result(body: onnx.FunctionProto) -> None:
    body.output[0] = body.node[-2].output[0]


def another_domain(body: onnx.FunctionProto) -> None:
    body.node[-1].domain = "com.microsoft"
    body.opset_import.append(helper.make_opsetid("com.microsoft", 1))


def a_value_that_nobody_makes(body: onnx.FunctionProto) -> None:
    body.node[-1].input[1] = "ghost"


def a_constant_that_cannot_be_read(body: onnx.FunctionProto) -> None:
    next(entry.t for node in body.node for entry in node.attribute if entry.t.name == "shifts").dims[0] = 9


@pytest.mark.parametrize(
    "change",
    [
        a_constant_that_cannot_be_read,
        *(bias_is_subtracted, accumulator_is_negated, a_bit_of_a_constant, a_number_is_another),
        *(another_attribute_is_read, inputs_change_places, another_result, another_domain, a_value_that_nobody_makes),
    ],
)
def test_a_body_that_says_something_else(change: Change) -> None:
    model = chain()
    change(next(function for function in model.functions if function.name == "BinaryConv2d"))
    with pytest.raises(ModelError, match="the body of BinaryConv2d in the file is not the definition") as caught:
        InferenceSession(model.SerializeToString())
    assert "\n" not in str(caught.value)


def test_a_sign_that_is_turned() -> None:
    model = chain()
    compare = first(next(function for function in model.functions if function.name == "Binarize"), "GreaterOrEqual")
    compare.op_type, compare.input[:] = "Greater", list(reversed(compare.input))
    with pytest.raises(ModelError, match="the body of Binarize"):
        InferenceSession(model.SerializeToString())


def test_an_operator_that_we_do_not_have() -> None:
    model = chain()
    model.functions[0].name = "Binarise"
    with pytest.raises(ModelError, match="the body of Binarise"):
        InferenceSession(model.SerializeToString())


def test_a_standard_operator_with_a_body_of_its_own() -> None:
    model = chain()
    node = helper.make_node("Neg", ["a"], ["b"])
    model.functions.append(helper.make_function("", "Round", ["a"], ["b"], [node], [helper.make_opsetid("", 18)]))
    with pytest.raises(ModelError, match="defines the standard operator Round anew"):
        InferenceSession(model.SerializeToString())


def renamed(body: onnx.FunctionProto) -> None:
    for node in body.node:
        node.name = ""
        for names in (node.input, node.output):
            names[:] = [name and f"{name}.new" for name in names]
    for names in (body.input, body.output):
        names[:] = [f"{name}.new" for name in names]


def undocumented(body: onnx.FunctionProto) -> None:
    body.doc_string = ""
    del body.value_info[:]


def constants_first(body: onnx.FunctionProto) -> None:
    nodes = sorted(body.node, key=lambda node: node.op_type != "Constant")
    del body.node[:]
    body.node.extend(nodes)


def attributes_turned(body: onnx.FunctionProto) -> None:
    for entries in (body.attribute, *(node.attribute for node in body.node)):
        turned = list(reversed(entries))
        del entries[:]
        entries.extend(turned)


def a_newer_onnx(body: onnx.FunctionProto) -> None:
    body.opset_import[0].version = 21


def raw_constants(body: onnx.FunctionProto) -> None:
    for node in body.node:
        for entry in node.attribute:
            if entry.HasField("t"):
                entry.t.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(entry.t), "other"))


@pytest.mark.parametrize("name", sorted(SIGNATURES))
@pytest.mark.parametrize(
    "change", [renamed, undocumented, constants_first, attributes_turned, a_newer_onnx, raw_constants]
)
def test_how_a_body_is_written_does_not_matter(change: Change, name: str) -> None:
    body = stored(name)
    change(body)
    assert body_digest(body) == SIGNATURES[name].body
    check_bodies([body])


def test_a_file_without_bodies_is_run() -> None:
    model = chain()
    del model.functions[:]
    assert InferenceSession(model.SerializeToString()).get_outputs()
