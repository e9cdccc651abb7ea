"""Plain ONNX graphs for the tests of the importer, and their answers in onnxruntime."""

from pathlib import Path
from typing import Any

import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper

from .graph import Graph

__all__ = ["SIGN_FORMS", "Source", "run", "sign_form"]


class Source(Graph):
    """A graph of one input ``x`` in somebody else's operators, written as calls: ``g("Relu", "x")``."""

    def __init__(self, shape: list[int | str], dtype: int = TensorProto.FLOAT) -> None:
        super().__init__()
        self.input = helper.make_tensor_value_info("x", dtype, shape)

    def __call__(self, op_type: str, *inputs: str, name: str | None = None, domain: str = "", **attributes: Any) -> str:
        return self.node(op_type, inputs, domain, name=name, **attributes)

    def model(self, output: str, rank: int, *, opset: int = 18, **domains: int) -> onnx.ModelProto:
        return self.build([self.input], {output: [None] * rank}, domains={"": opset, **domains})

    def save(self, path: Path, output: str, rank: int, **options: Any) -> Path:
        onnx.save(self.model(output, rank, **options), path)
        return path


def run(model: Path | onnx.ModelProto, x: NDArray[Any], *, optimise: bool = True) -> NDArray[Any]:
    """Return the first output of stock onnxruntime."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    if not optimise:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    source = str(model) if isinstance(model, Path) else model.SerializeToString()
    session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    result: NDArray[Any] = session.run(None, {session.get_inputs()[0].name: x})[0]
    return result


def sign_form(g: Source, form: str, x: str) -> str:
    """Write one of :data:`SIGN_FORMS` over ``x``."""
    zero, one, minus, two = (g.constant(v) for v in (0.0, 1.0, -1.0, 2.0))
    if form == "where >=":
        return g("Where", g("GreaterOrEqual", x, zero), one, minus)
    if form == "where >":
        return g("Where", g("Greater", x, zero), one, minus)
    if form == "where <":
        return g("Where", g("Less", x, zero), minus, one)
    if form == "where <=":
        return g("Where", g("LessOrEqual", x, zero), one, minus)  # falls where x rises
    if form == "0 > x":
        return g("Where", g("Greater", zero, x), minus, one)
    if form == "not <":
        return g("Where", g("Not", g("Less", x, zero)), one, minus)
    if form == "2b-1":
        cast = g("Cast", g("Greater", x, zero), to=TensorProto.FLOAT)
        return g("Sub", g("Mul", two, cast), one)
    if form == "1-2b":
        cast = g("Cast", g("Less", x, zero), to=TensorProto.FLOAT)
        return g("Sub", one, g("Mul", cast, two))
    if form == "bitorch":
        sign = g("Sign", x)
        return g("Where", g("Equal", sign, zero), one, sign)
    if form == "sign(sign + 0.1)":
        return g("Sign", g("Add", g("Sign", x), g.constant(0.1)))
    if form == "hardtanh, where":
        return g("Where", g("GreaterOrEqual", g("Clip", x, minus, one), zero), one, minus)
    assert form == "bool"
    return g("Cast", g("GreaterOrEqual", x, zero), to=TensorProto.FLOAT)  # 0 and 1


SIGN_FORMS = (
    *("where >=", "where >", "where <", "where <=", "0 > x", "not <", "2b-1", "1-2b", "bitorch"),
    *("sign(sign + 0.1)", "hardtanh, where", "bool"),
)
