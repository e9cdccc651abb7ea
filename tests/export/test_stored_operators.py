"""The stored file of operators, with which tests/runtime runs on a device, is what export/opset.py defines today."""

import importlib.util
from pathlib import Path

import onnx

from latentbit.export.opset import functions
from latentbit.runtime.intake.bodies import body_digest
from latentbit.runtime.operators import SIGNATURES

FOLDER = Path(__file__).parents[1] / "data"


def test_operators_onnx_is_up_to_date() -> None:
    spec = importlib.util.spec_from_file_location("make_operators", FOLDER / "make_operators.py")
    assert spec is not None
    assert spec.loader is not None
    maker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(maker)
    stored = onnx.load(FOLDER / "operators.onnx")
    assert stored == maker.operators_model(), "run: python tests/data/make_operators.py"
    onnx.checker.check_model(stored, full_check=True)


def test_the_runtime_knows_the_digest_of_every_body() -> None:
    assert {function.name: body_digest(function) for function in functions()} == {
        name: operator.body for name, operator in SIGNATURES.items()
    }
