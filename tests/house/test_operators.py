"""One definition per operator: written in export/opset.py, carried by every file, known to the runtime."""

import ast

import onnx
import pytest

from latentbit.export.opset import OPERATORS, functions
from latentbit.runtime.bits import DOMAIN, OPSET_VERSION
from latentbit.runtime.kernels.registry import KERNELS
from latentbit.runtime.operators import LAYERS, SIGN_KEEPING, SIGNATURES

from .source import CHECKOUT, modules

NAMES = {operator.name for operator in OPERATORS}
HOMES = {"export.opset", "runtime.operators"}


def test_operators_are_defined_in_one_file() -> None:
    """An onnxscript function is what ``@script`` decorates; there is no second file with one."""
    found = {
        (module.name, node.name)
        for module in modules()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.FunctionDef)
        and any("script" in ast.unparse(decorator).split("(")[0] for decorator in node.decorator_list)
    }
    assert {name for _, name in found} == NAMES
    assert {module for module, _ in found} == {"export.opset"}


@pytest.mark.parametrize("function", functions(), ids=lambda function: function.name)
def test_every_operator_travels_as_a_function(function: onnx.FunctionProto) -> None:
    assert (function.domain, function.name in NAMES) == (DOMAIN, True)
    assert function.doc_string.strip(), "its docstring is the specification that travels"
    assert {node.domain for node in function.node} <= {"", "ai.onnx"}, "standard operators only"
    assert {entry.domain for entry in function.opset_import} <= {"", DOMAIN}
    assert OPSET_VERSION == 1


def test_what_is_known_without_the_bodies_is_what_the_bodies_say() -> None:
    """The runtime reads files without onnxscript, so runtime/operators.py states the outside of each definition."""
    assert {f.name: tuple(f.input) for f in functions()} == {s.name: s.inputs for s in SIGNATURES.values()}
    assert {f.name: tuple(f.attribute) for f in functions()} == {s.name: s.attributes for s in SIGNATURES.values()}
    convolves = {f.name: any(node.op_type == "Conv" for node in f.node) for f in functions()}
    counts = {f.name: any(node.op_type == "Round" for node in f.node) for f in functions()}
    for name in LAYERS:
        assert convolves[name] is (SIGNATURES[name].rank == 4)
        assert counts[name] is not SIGNATURES[name].real_input, "sums of ±1 are integers, and rounded as such"


def test_nobody_takes_the_names_of_layers_apart() -> None:
    """A question about a layer's operator is asked of runtime/operators.py, never of the letters of its name."""
    found = [
        f"{module.name}:{node.lineno}: {node.value!r}"
        for module in modules()
        if module.wing != "training" and module.name not in HOMES  # training has torch layers of the same names
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Constant) and node.value in {*LAYERS, "BinaryWeight", "Conv2d"}
    ]
    assert not found


def test_standard_operators_that_keep_signs_exist() -> None:
    for name in SIGN_KEEPING:
        assert onnx.defs.has(name, ""), f"{name} is no standard operator"


def test_the_specification_has_every_operator() -> None:
    page = (CHECKOUT / "docs" / "opset.md").read_text(encoding="utf-8")
    assert [name for name in NAMES if f"`{name}`" not in page] == []


def test_one_kernel_runs_everywhere() -> None:
    """The last kernel of the list asks for no feature, so no CPU is left without."""
    assert KERNELS[-1].features == frozenset()
    assert len({kernel.name for kernel in KERNELS}) == len(KERNELS)
