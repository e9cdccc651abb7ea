"""Sizes that a file states are numbers before a float part runs."""

from itertools import pairwise

import numpy as np
import pytest
from onnx import TensorProto, numpy_helper
from onnx.reference import ReferenceEvaluator

from latentbit.runtime.intake.reading import load
from latentbit.runtime.session import InferenceSession
from latentbit.runtime.session.sizes import state_sizes

from ...support.graphs import GraphMaker


def attention(maker: GraphMaker, value: str) -> str:
    """Put an attention behind tokens, as torch's exporter writes it, with a scale and sizes made of Shape."""
    ends = [maker.constant(np.array([end])) for end in (-(2**63), -2, -1, 2**63 - 1)]
    shape = maker.node("Shape", [value])
    first, second, last = (maker.node("Slice", [shape, *pair]) for pair in pairwise(ends))
    flat = maker.node("Concat", [ends[2], second, last], axis=0)
    turned = maker.node("Transpose", [maker.node("Reshape", [value, flat])], perm=[0, 2, 1])
    turned = maker.node("Reshape", [turned, maker.node("Concat", [first, last, second], axis=0)])
    width = maker.node("Cast", [maker.node("Gather", [shape, maker.constant(np.array([-1]))])], to=TensorProto.FLOAT)
    scale = maker.node("Div", [maker.constant(np.float32(1)), maker.node("Sqrt", [width])])
    scale = maker.node("CastLike", [scale, value])
    return maker.node("Softmax", [maker.node("MatMul", [maker.node("Mul", [value, scale]), turned])], axis=-1)


@pytest.mark.parametrize("batch", [1, 3])
def test_an_attention_answers_as_its_file_says(batch: int) -> None:
    maker = GraphMaker(1)
    model = maker.model({"input": ["N", 6, 8]}, [attention(maker, "input")])
    x = maker.floats(batch, 6, 8)
    found = InferenceSession(model.SerializeToString()).run(None, {"input": x})[0]
    np.testing.assert_allclose(found, ReferenceEvaluator(model).run(None, {"input": x})[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("width", [8, "W"])
def test_what_hangs_on_stated_sizes_alone_is_a_number(width: int | str) -> None:
    maker = GraphMaker(1)
    result = attention(maker, "input")
    model = load(maker.model({"input": ["N", 6, width]}, [result]).SerializeToString())
    nodes, constants = state_sizes(model, model.proto.graph.node, [result])
    ops, values = [node.op_type for node in nodes], [numpy_helper.to_array(entry).tolist() for entry in constants]
    if width == 8:
        assert not {"Shape", "Slice", "Gather", "Concat", "CastLike"} & set(ops)
        assert sorted(values) == [[-1, 6, 8], [-1, 8, 6], [8]]
    else:  # two sizes of the second Reshape are those of a run
        assert {"Shape", "Gather", "Concat"} <= set(ops)
        assert [-1, 6, -1] not in values


def test_sizes_that_leave_a_part_are_given_as_numbers() -> None:
    maker = GraphMaker(1)
    shape = maker.node("Shape", ["input"], start=1)
    result = maker.node("Cast", [shape], to=TensorProto.FLOAT)
    model = load(maker.model({"input": ["N", 6, 8]}, [result]).SerializeToString())
    nodes, constants = state_sizes(model, model.proto.graph.node, [shape])
    assert (list(nodes), [entry.name for entry in constants]) == ([], [shape])
    session = InferenceSession(model.proto.SerializeToString())
    assert session.run(None, {"input": maker.floats(2, 6, 8)})[0].tolist() == [6, 8]
