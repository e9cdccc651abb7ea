"""Where things lie: short files, complete lists, one changelog, nothing of a developer's machine."""

import importlib
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

import latentbit

from .source import CHECKOUT, WINGS, Module, imports, modules

PYPROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))
LIMIT = 300
MODULES = modules()


def tracked() -> list[Path]:
    """Return the files that git tracks, or would after ``git add``; without git, the sources."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=CHECKOUT, capture_output=True, text=True
    )
    if listed.returncode:
        return [path for wing in (*WINGS, "tests", "docs") for path in (CHECKOUT / wing).rglob("*") if path.is_file()]
    return [CHECKOUT / name for name in listed.stdout.splitlines() if (CHECKOUT / name).is_file()]


def test_no_file_is_longer_than_a_reader_follows() -> None:
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in tracked() if path.suffix == ".py"}
    long = {str(path.relative_to(CHECKOUT)): lines for path, lines in lengths.items() if lines > LIMIT}
    assert lengths
    assert not long, f"longer than {LIMIT} lines: {long}; split by idea"


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.name)
def test_json_is_read_by_the_function_that_keeps_its_word(module: Module) -> None:
    """``json.loads`` raises RecursionError for a small text; :func:`.files.parse_json` raises ValueError for all."""
    read = {name for item in imports(module) if item.module == "json" for name in item.names}
    assert not read, f"{module.name} imports {sorted(read)} from json"
    if module.name != "runtime.files":
        assert "json.load" not in module.path.read_text(encoding="utf-8"), f"{module.name}: call parse_json"


def test_pyproject_lists_every_package() -> None:
    folders = {path.parent.relative_to(CHECKOUT) for wing in WINGS for path in (CHECKOUT / wing).rglob("*.py")}
    expected = {"latentbit"} | {".".join(("latentbit", *folder.parts)) for folder in folders}
    assert set(PYPROJECT["tool"]["setuptools"]["packages"]) == expected


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.name)
def test_all_names_what_exists(module: Module) -> None:
    """Every module but ``__main__`` says what is public (ruff holds the order), and the names are there."""
    names = module.exported()
    if module.name.endswith("__main__") or (module.is_package and len(module.tree.body) == 1):
        return
    assert names is not None, f"{module.name} has no __all__"
    loaded = importlib.import_module(f"latentbit.{module.name}")
    missing = [name for name in names if not hasattr(loaded, name)]
    assert not missing, f"{module.name}.__all__ names what is not there: {missing}"


def test_changelog_and_version_agree() -> None:
    headings = re.findall(r"^## \[([^\]]+)\]", (CHECKOUT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert headings[0] == "Unreleased"
    assert headings[1] == PYPROJECT["project"]["version"] == latentbit.__version__


def test_every_page_is_reached_from_the_readme_and_no_link_is_dead() -> None:
    pages = [CHECKOUT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
    pages += sorted((CHECKOUT / "docs").glob("*.md"))
    dead = [
        f"{page.name}: {target}"
        for page in pages
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
        if not (page.parent / target).exists()
    ]
    assert not dead, dead
    readme = (CHECKOUT / "README.md").read_text(encoding="utf-8")
    assert not [page.name for page in pages[3:] if f"(docs/{page.name})" not in readme], (
        "pages that README does not name"
    )


def test_nothing_speaks_of_a_developers_machine() -> None:
    allowed = {Path(".ci/run"): "../shared/data"}  # data beside the checkout, used where it exists
    here = re.escape(f"{CHECKOUT.parent}/") if len(CHECKOUT.parts) > 2 else "\0"
    words = re.compile(rf"{here}|\.\./shared[/\w]*|/root/|/tmp/\w+/|/home/(?!pi\b)\w+")
    found = []
    for path in tracked():
        name = path.relative_to(CHECKOUT)
        if path == Path(__file__):
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
            hits = [hit for hit in words.findall(line) if not hit.startswith(allowed.get(name, "\0"))]
            found += [f"{name}:{number}: {hit}" for hit in hits]
    assert not found, found


def test_base_dependencies_are_those_of_a_device() -> None:
    names = {re.split(r"[<>=!~\[ ;]", item)[0] for item in PYPROJECT["project"]["dependencies"]}
    assert names == {"numpy", "numba", "onnx", "onnxruntime"}
