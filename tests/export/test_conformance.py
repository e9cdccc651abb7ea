"""The conformance suite: its files are what its script writes, and the functions in them mean what the integers say."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx.reference import ReferenceEvaluator

from ..conformance import make_cases
from ..conformance.reading import case_names, read_case


def test_the_files_are_what_the_script_writes() -> None:
    written = dict(make_cases.files())
    stored = {str(p.relative_to(make_cases.FOLDER)) for p in make_cases.FOLDER.rglob("*") if p.is_file()}
    assert stored == set(written)
    for path, data in written.items():
        # numpy draws the same numbers everywhere, and protobuf's bytes are deterministic within one version only
        here = (make_cases.FOLDER / path).read_bytes()
        if path.endswith(".onnx"):
            assert onnx.load_from_string(here) == onnx.load_from_string(data), path
        else:
            assert here == data, path


def test_every_operator_has_a_case() -> None:
    from latentbit.export.opset import functions

    used = {node.op_type for name in case_names() for node in onnx.load(read_case(name).path).graph.node}
    assert {function.name for function in functions()} <= used


@pytest.mark.parametrize("name", case_names())
def test_reference_evaluator(name: str) -> None:
    case = read_case(name)
    (result,) = ReferenceEvaluator(onnx.load(case.path)).run(None, case.feeds)
    np.testing.assert_allclose(result, case.expected, rtol=case.tolerance, atol=case.tolerance)


@pytest.mark.parametrize("level", ["ORT_DISABLE_ALL", "ORT_ENABLE_ALL"])
@pytest.mark.parametrize("name", case_names())
def test_onnxruntime(name: str, level: str) -> None:
    case = read_case(name)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
    session = onnxruntime.InferenceSession(case.path, options, providers=["CPUExecutionProvider"])
    (result,) = session.run(None, case.feeds)
    np.testing.assert_allclose(result, case.expected, rtol=case.tolerance, atol=case.tolerance)
