"""CONTRIBUTING.md's "one file, one list", row by row: file and list are there, and the list is what the files hold."""

import ast
import dataclasses
import importlib
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from latentbit.training import layers
from latentbit.training.layers.weight_only import BinaryWeightConv2d, BinaryWeightLinear

from ..conformance import make_cases
from .source import CHECKOUT, Module, read
from .test_imports import FOUNDATION, INTAKE

PAGE = (CHECKOUT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def table(heading: str) -> list[list[str]]:
    """Return the cells of the rows of the table under a heading."""
    section = PAGE.split(f"## {heading}", 1)[1].split("\n## ", 1)[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")][1:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


ROWS = {what: f"{where} {entries}" for what, where, entries in table("Where a new thing goes")}
"""By what is new: where it is written, and where it is entered."""


def places(row: str) -> list[Path]:
    """Return the files and folders that a row names; ``NAME`` stands for any name."""
    words = [word for code in re.findall(r"`([^`]+)`", row) for word in code.split() if "/" in word]
    found = [sorted(CHECKOUT.glob(word.replace("NAME", "*").rstrip("/"))) for word in words]
    assert all(found), f"{words} are not all there"
    return [path for paths in found for path in paths]


def lists(row: str) -> list[str]:
    return re.findall(r"`([A-Z][A-Z_]+)`", row)


def home(row: str, name: str) -> Module:
    """Return the module, of those that a row names, at whose top a list is made."""
    files = {file for path in places(row) for file in ([path] if path.is_file() else path.rglob("*.py"))}
    modules = [read(file) for file in files if file.suffix == ".py"]
    (found,) = [module for module in modules if module.assigned(name) is not None]
    return found


def listed(what: str, name: str) -> Any:
    """Return a list of a row, from the module that has it."""
    return getattr(importlib.import_module(f"latentbit.{home(ROWS[what], name).name}"), name)


def exported(pattern: str) -> dict[str, list[str]]:
    """Return the public names of the files that match, by the file's stem."""
    return {path.stem: read(path).exported() or [] for path in sorted(CHECKOUT.glob(pattern))}


def functions(path: str, *parameters: str) -> set[str]:
    """Return the functions at the top of a file that take exactly these parameters."""
    nodes = [node for node in read(CHECKOUT / path).tree.body if isinstance(node, ast.FunctionDef)]
    return {node.name for node in nodes if tuple(argument.arg for argument in node.args.args) == parameters}


def bare(function: Any) -> Any:
    return function.func if isinstance(function, partial) else function


def operators() -> None:
    nodes = [node for node in read(CHECKOUT / "export/opset.py").tree.body if isinstance(node, ast.FunctionDef)]
    written = {node.name for node in nodes if any("script" in ast.unparse(one) for one in node.decorator_list)}
    assert {operator.name for operator in listed("operator", "OPERATORS")} == written
    page = (CHECKOUT / "docs/opset.md").read_text(encoding="utf-8")
    assert [name for name in written if f"`{name}`" not in page] == []
    cases = {path.parent.name for path in (CHECKOUT / "tests/conformance/cases").glob("*/*/model.onnx")}
    assert {name.split("/")[1] for name in make_cases.CASES} == cases


def kernels() -> None:
    found = exported("runtime/kernels/*.py")
    symbols = {(stem, name) for stem, names in found.items() for name in names if name.startswith("conv_")}
    symbols = {(stem, name) for stem, name in symbols if not stem.endswith("_planes")}
    assert {(kernel.module, kernel.symbol) for kernel in listed("kernel", "KERNELS")} == symbols


def planes() -> None:
    found = exported("runtime/kernels/*_planes.py")
    symbols = {(stem, name) for stem, names in found.items() for name in names if name.startswith("conv_")}
    assert {(row.module, row.symbol) for row in listed("kernel over two planes of bits", "PLANES")} == symbols


def sums() -> None:
    found = exported("runtime/kernels/stem_*.py")
    symbols = {(stem, name) for stem, names in found.items() for name in names if name.startswith("sums_")}
    assert {(row.module, row.symbol) for row in listed("kernel of the exact stem's sums", "SUMS")} == symbols


def signed() -> None:
    found = exported("runtime/kernels/*.py")
    symbols = {(stem, name) for stem, names in found.items() for name in names if name.startswith("sums_")}
    symbols = {(stem, name) for stem, name in symbols if not stem.startswith("stem_")}
    assert {(row.module, row.symbol) for row in listed("kernel of dense layers with real inputs", "SIGNED")} == symbols


def laws() -> None:
    """Every layer of ours, or a base class of it, is carried."""
    carried = tuple(law.layer for law in listed("layer of ours that is an operator in the file", "LAWS"))
    kinds = [layers.RSign, layers.RPReLU, layers.BinaryConv2d, layers.BinaryLinear]
    assert all(issubclass(kind, carried) for kind in (*kinds, BinaryWeightConv2d, BinaryWeightLinear))


def dialects() -> None:
    names = [name for names in exported("export/importing/*.py").values() for name in names]
    rows = listed("form of ONNX that can be imported", "DIALECTS")
    assert {row.__name__ for row in rows} == {name for name in names if name.startswith("lower_")}


def models() -> None:
    table = listed("model", "MODELS")
    written = exported("training/models/*nets.py")
    assert {name for names in written.values() for name in names if name.islower()} <= set(table)
    homes = {bare(model).__module__.removeprefix("latentbit.training.models.") for model in table.values()}
    assert homes <= {*written, "catalogue"}


def loaders() -> None:
    files = (CHECKOUT / "training/data").glob("*.py")
    written = {
        name for path in files for name in re.findall(r"^def (load_\w+)", path.read_text(encoding="utf-8"), re.M)
    }
    used = {bare(loader).__name__ for loader in listed("data set", "LOADERS").values()}
    assert used == written - {"load_folder"}, "load_folder takes the names folder:NAME"


def estimators() -> None:
    table = listed("straight-through estimator", "ESTIMATORS")
    assert set(table) == functions("training/layers/estimators.py", "x", "progress")
    assert all(function.__name__ == name for name, function in table.items())


def objectives() -> None:
    what = "attempt at the latent branch"
    classes = set(listed(what, "OBJECTIVES").values())
    assert tuple(listed(what, "OBJECTIVES")) == listed(what, "LATENT")
    (first,) = [one for one in classes if all(issubclass(other, one) for other in classes)]
    module = importlib.import_module(first.__module__)
    written = {value for value in vars(module).values() if isinstance(value, type) and issubclass(value, first)}
    used = {base for one in classes for base in one.__mro__}
    assert written <= used, "an attempt that nobody can choose"


def options() -> None:
    from latentbit.pipeline.sections import Config
    from latentbit.training.settings import Settings

    assert get_type_hints(Config)["train"] is Settings
    defaults = Settings.from_keywords(**dataclasses.asdict(Settings()))
    assert defaults == Settings()


def stages() -> None:
    from latentbit.pipeline.cli import cli

    names = [stage.name for stage in listed("stage or command of the pipeline", "STAGES")]
    assert set(names) <= set(cli.commands)


def blocks() -> None:
    """Every kind of block builds what is written for it, and the page that users read has a row for it."""
    page = (CHECKOUT / "docs/training.md").read_text(encoding="utf-8")
    assert [name for name in listed("kind of block", "BLOCKS") if f"`{name}`" not in page] == []


def corruptions() -> None:
    table = listed("corruption of test images", "CORRUPTIONS")
    assert {function.__name__ for function in table.values()} == functions(
        "training/data/corruptions.py", "x", "severity", "rng"
    )


def pages() -> None:
    """Every page is in the navigation, and those that users type along are pages."""
    navigation = (CHECKOUT / "mkdocs.yml").read_text(encoding="utf-8").split("\nnav:", 1)[1]
    names = {path.stem for path in (CHECKOUT / "docs").glob("*.md")}
    assert [name for name in names if f" {name}.md\n" not in f"{navigation}\n"] == []
    typed = home(ROWS["page of the docs"], "USER").assigned("USER")  # read, for an installed package has no tests
    assert typed is not None
    assert set(ast.literal_eval(typed)) <= names


CHECKS: dict[str, Callable[[], None]] = {
    "operator": operators,
    "kernel": kernels,
    "kernel over two planes of bits": planes,
    "kernel of the exact stem's sums": sums,
    "kernel of dense layers with real inputs": signed,
    "layer of ours that is an operator in the file": laws,
    "form of ONNX that can be imported": dialects,
    "model": models,
    "data set": loaders,
    "straight-through estimator": estimators,
    "attempt at the latent branch": objectives,
    "option of training": options,
    "stage or command of the pipeline": stages,
    "kind of block": blocks,
    "corruption of test images": corruptions,
    "page of the docs": pages,
}


@pytest.mark.parametrize("what", ROWS)
def test_the_files_and_lists_of_a_row_are_there(what: str) -> None:
    assert places(ROWS[what])
    for name in lists(ROWS[what]):
        assert home(ROWS[what], name)


@pytest.mark.parametrize("what", CHECKS)
def test_a_list_is_what_its_files_hold(what: str) -> None:
    assert what in ROWS
    CHECKS[what]()


def test_every_row_with_a_list_is_checked() -> None:
    assert {what for what, row in ROWS.items() if lists(row)} <= set(CHECKS)


def test_a_wing_may_import_what_the_page_says() -> None:
    rows = {re.sub(r"\W", "", where): allowed for where, _, allowed in table("Where things lie")}
    assert all((CHECKOUT / folder).is_dir() for folder in rows)
    for wing in ("export", "training"):
        names = re.findall(r"`((?:runtime)?\.[\w.]+)`", rows[wing])
        told = {f"runtime{name}" if name.startswith(".") else name for name in names}
        assert told == {name for name in INTAKE[wing] if name.startswith("runtime.")}, wing
    assert INTAKE["export"] >= FOUNDATION


def test_the_reader_of_the_table_is_not_blind() -> None:
    with pytest.raises(AssertionError, match="not all there"):
        places("a module `runtime/kernels/nowhere_NAME.py`")
    with pytest.raises(ValueError, match="not enough values"):
        home("`ABSENT` in `export/opset.py`", "ABSENT")
    assert lists("`KERNELS` in `runtime/kernels/registry.py`") == ["KERNELS"]
    assert len(ROWS) > 10
