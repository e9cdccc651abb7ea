"""Imports point the way data flows: pipeline -> training -> export -> runtime, only to the intake of the next wing."""

import sys
from pathlib import Path

import pytest

from .source import CHECKOUT, Import, Module, imports, modules, read

# What a wing may import of the wings below it.
FOUNDATION = {
    "runtime.bits",
    "runtime.errors",
    "runtime.files",
    "runtime.imported",
    "runtime.lazy",
    "runtime.metrics",
    "runtime.operators",
    "runtime.pictures",
    "runtime.terminal",
}
INTAKE = {
    "runtime": set[str](),
    "export": FOUNDATION | {"runtime.intake.source", "runtime.proof.self_test"},
    "training": FOUNDATION | {"export.frontend.finishing"} | {"runtime.proof.engines"},
}
BASE = {"numpy", "onnx", "onnxruntime", "numba", "llvmlite"}
THIRD_PARTY = {
    "runtime": BASE | {"PIL", "openvino"},
    "export": BASE | {"onnxscript", "onnx_ir"},
    "training": BASE | {"onnx_ir", "torch", "sklearn", "PIL", "matplotlib"},
    "pipeline": {"numpy", "onnx", "click", "rich", "jinja2", "markupsafe", "matplotlib", "PIL", "huggingface_hub"},
}
MODULES = modules()


def ids(module: Module) -> str:
    return module.name


def of_the_package(item: Import) -> bool:
    return item.relative and item.module != ""


@pytest.mark.parametrize("module", [m for m in MODULES if m.wing in INTAKE], ids=ids)
def test_staircase(module: Module) -> None:
    """(``pipeline`` conducts all of them, and nobody's intake names it.)"""
    allowed = INTAKE[module.wing]
    wrong = [
        f"line {item.line}: {item.module}"
        for item in imports(module)
        if of_the_package(item) and item.module.split(".")[0] != module.wing and item.module not in allowed
    ]
    assert not wrong, f"{module.name} reaches past the intake of a lower wing, or up: {wrong}"


@pytest.mark.parametrize("module", MODULES, ids=ids)
def test_inside_the_package_imports_are_relative(module: Module) -> None:
    wrong = [item.line for item in imports(module) if not item.relative and item.module.split(".")[0] == "latentbit"]
    assert not wrong, f"{module.name} imports latentbit absolutely in lines {wrong}"


@pytest.mark.parametrize("module", MODULES, ids=ids)
def test_third_party_packages_stay_in_their_wing(module: Module) -> None:
    used = {item.module.split(".")[0] for item in imports(module) if not item.relative}
    wrong = used - set(sys.stdlib_module_names) - THIRD_PARTY[module.wing]
    assert not wrong, f"{module.name} imports {sorted(wrong)}; tests/house/test_imports.py says what each wing may use"


@pytest.mark.parametrize("module", [m for m in MODULES if m.wing == "pipeline"], ids=ids)
def test_pipeline_imports_the_stages_lazily(module: Module) -> None:
    light = FOUNDATION | {
        "pipeline",
        "runtime.commands.verbs",
        "runtime.intake.typed",
        "runtime.machine.library",
        "runtime.proof.bundle",
        "runtime.proof.peers",
        "runtime.proof.report",
        "runtime.proof.tolerances",
        "runtime.zoo.catalogue",
        "training.names",
        "training.overrides",
        "training.settings",
        "training.studies.presets",
    }
    heavy = [
        item.module
        for item in imports(module)
        if item.at_top and of_the_package(item) and item.module not in light and not item.module.startswith("pipeline")
    ]
    assert not heavy, f"{module.name} imports {heavy} at its top: a run in which all is fresh must not load them"


@pytest.mark.parametrize("module", MODULES, ids=ids)
def test_other_modules_use_public_names_only(module: Module) -> None:
    public = {other.name: other.exported() for other in MODULES}
    wrong = [
        f"{item.module}.{name}"
        for item in imports(module)
        if of_the_package(item)
        for name in item.names
        if (names := public.get(item.module)) is not None and name not in names
    ]
    assert not wrong, f"{module.name} imports what is not in __all__: {wrong}"


def test_the_law_is_not_blind(tmp_path: object) -> None:
    """The reader of imports sees what it should: upward, lazy, relative and absolute ones."""
    import ast
    from pathlib import Path

    text = (
        "import torch\ndef f():\n    from ..training import data\n    from . import bits\n"
        "if TYPE_CHECKING:\n    from .session import session\nelse:\n    from . import files\n"
    )
    probe = Module("runtime.probe", Path("runtime/probe.py"), ast.parse(text))
    assert {(item.module, item.at_top, item.typing) for item in imports(probe)} == {
        ("torch", True, False),
        ("training.data", False, False),
        ("runtime.bits", False, False),
        ("runtime.session.session", False, True),
        ("runtime.files", True, False),
    }


@pytest.mark.parametrize(
    "path", sorted((CHECKOUT / "tests" / "runtime").rglob("test_*.py")), ids=lambda path: path.stem
)
def test_the_tests_of_the_runtime_need_what_a_device_has(path: Path) -> None:
    """(tox runs them where nothing of the pipeline is installed; a test in which that is needed asks for it there.)"""
    wrong = [
        f"line {item.line}: {item.module}"
        for item in imports(read(path))
        if item.at_top and not item.typing and not item.relative
        if item.module.split(".")[0] in {"torch", "click", "rich", "onnxscript", "onnx_ir", "sklearn", "PIL"}
        or item.module.split(".")[:2] in (["latentbit", "training"], ["latentbit", "export"], ["latentbit", "pipeline"])
    ]
    assert not wrong, f"{path} cannot be imported on a device: {wrong}"
