"""What stock onnxruntime answers to the same file is compared, whatever the file's bodies say."""

import numpy as np
import onnx
import pytest

from latentbit.runtime.intake import source
from latentbit.runtime.proof.stock import stock_failures
from latentbit.runtime.proof.tolerances import Tolerances

from ...support.graphs import GraphMaker, chain

FEEDS = [{"input": GraphMaker().floats(8, 12, 8, 8)}]


def said(model: onnx.ModelProto) -> list[str]:
    return list(stock_failures(model.SerializeToString(), FEEDS, Tolerances()))


def test_a_right_file_means_one_thing() -> None:
    assert said(chain()) == []


@pytest.fixture
def tampered(monkeypatch: pytest.MonkeyPatch) -> onnx.ModelProto:
    """A file with a body that is not compared, as if the comparison had a hole."""
    monkeypatch.setattr(source, "check_bodies", lambda functions: None)
    return chain()


def body(model: onnx.ModelProto, name: str) -> onnx.FunctionProto:
    return next(function for function in model.functions if function.name == name)


def test_outputs_that_differ(tampered: onnx.ModelProto) -> None:
    body(tampered, "BinaryGemm").node[-1].op_type = "Sub"
    (failure,) = said(tampered)
    assert failure.startswith("stock onnxruntime answers this file otherwise, by ")


def test_signs_that_differ(tampered: onnx.ModelProto) -> None:
    compare = next(node for node in body(tampered, "Binarize").node if node.op_type == "GreaterOrEqual")
    compare.op_type = "Less"
    failures = said(tampered)
    assert " of all signs in this file otherwise" in failures[-1]


def test_a_number_that_is_none(tampered: onnx.ModelProto) -> None:
    last = body(tampered, "BinaryGemm").node[-2]
    last.op_type = "Div"
    tensor = next(entry for entry in tampered.graph.initializer if entry.name == tampered.graph.node[-1].input[2])
    tensor.CopyFrom(onnx.numpy_helper.from_array(np.zeros(10, np.float32), tensor.name))
    assert "by inf" in said(tampered)[0]
