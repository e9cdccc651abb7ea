"""One definition per operator: written in export/opset.py, carried by every file, known to the runtime."""

import ast

import onnx
import pytest

from latentbit.export.opset import OPERATORS, functions
from latentbit.runtime.bits import DOMAIN, OPSET_VERSION
from latentbit.runtime.intake import reading as loading
from latentbit.runtime.kernels.registry import KERNELS

from .source import CHECKOUT, modules

NAMES = {operator.name for operator in OPERATORS}


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


def test_the_runtime_takes_what_the_definition_says() -> None:
    """It validates attributes and inputs without onnxscript, so it has lists of its own: these are equal."""
    assert {f.name: frozenset(f.attribute) for f in functions()} == loading._ATTRIBUTES
    assert {f.name: len(f.input) for f in functions()} == loading._INPUTS


def test_the_specification_has_every_operator() -> None:
    page = (CHECKOUT / "docs" / "opset.md").read_text(encoding="utf-8")
    assert [name for name in NAMES if f"`{name}`" not in page] == []


def test_one_kernel_runs_everywhere() -> None:
    """The last kernel of the list asks for no feature, so no CPU is left without."""
    assert KERNELS[-1].features == frozenset()
    assert len({kernel.name for kernel in KERNELS}) == len(KERNELS)
