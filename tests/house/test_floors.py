"""Inside a wing, too, imports point one way: down the floors, and never in a circle. Lazy and typing imports count."""

import ast
from collections.abc import Iterable
from pathlib import Path

import pytest

from .open import OPEN, excused
from .source import Module, imports, modules

FLOORS = {
    "runtime": (
        *("", "machine", "intake", "layout", "kernels", "plan", "steps", "session", "proof", "zoo", "classify"),
        "commands",
    ),
    "training": ("", "data", "layers", "models", "latent", "loop", "studies", "handover"),
    "export": ("graph", "", "importing", "frontend"),
    "pipeline": (
        *("sections", "config", "rundir", "progress", "paths", "console", "sampling"),
        *("recording", "measuring", "cards", "summary", "reporting"),
        *("stages", "bundle", "conductor"),
        "comparing",
        *("completion", "cli_board", "cli_models", "cli_devices", "cli_studies", "cli_zoo", "model_card", "cli_card"),
        *("starter", "cli_init", "cli"),
    ),
}
"""The folders of each wing from the lowest floor to the highest; "" are the files that lie in none. A module imports
its own floor or a lower one. In ``pipeline`` every file is a floor, and its one folder."""

MODULES = modules()


def floor_of(name: str, wing: str) -> str:
    """Return the floor of a module or folder of a wing, by its dotted name."""
    parts = name.split(".")[1:]
    if parts and parts[0] in FLOORS[wing]:
        return parts[0]
    return "" if len(parts) == 1 else parts[0] if parts else wing


def height(name: str, wing: str) -> int:
    """Return how high a module lies. A wing's own name, what its ``__init__`` hands on, lies above all floors."""
    floors, floor = FLOORS[wing], floor_of(name, wing)
    return floors.index(floor) if floor in floors else len(floors)


def arrows_up(found: Iterable[Module]) -> set[str]:
    """Return the imports that point up a floor.

    A wing's own ``__init__`` and ``__main__`` use everything and are left out; those of folders are not.
    """
    return {
        f"{module.name} -> {item.module}"
        for module in found
        if "." in module.name and not module.name.endswith("__main__")
        for item in imports(module)
        if item.relative and item.module.split(".")[0] == module.wing
        if height(item.module, module.wing) > height(module.name, module.wing)
    }


def circles(found: Iterable[Module]) -> set[str]:
    """Return the groups of modules that import each other, directly or by others.

    An ``__init__`` is a module like others, with the imports that stand in it. That Python runs it before every module
    of its folder is no import of ours: it would make a circle of each ``__init__`` that hands names on.
    """
    graph = {module.name: {item.module for item in imports(module) if item.relative} for module in found}
    reached = {name: _reached(name, graph) for name in graph}
    groups = {
        frozenset(other for other in reached[name] if name in reached.get(other, ())) for name in graph
    }  # of a module in no circle: nothing
    return {", ".join(sorted(group)) for group in groups if group}


def _reached(name: str, graph: dict[str, set[str]]) -> set[str]:
    seen: set[str] = set()
    waiting = list(graph[name])
    while waiting:
        other = waiting.pop()
        if other not in seen:
            seen.add(other)
            waiting.extend(graph.get(other, ()))
    return seen


def test_every_module_has_a_floor_and_every_floor_a_module() -> None:
    for wing, floors in FLOORS.items():
        found = {floor_of(module.name, wing) for module in MODULES if module.wing == wing and "." in module.name}
        assert found - set(floors) - {"__main__"} == set(), f"enter it in FLOORS: {wing}"
        missing = {f"{wing}.{floor}" for floor in set(floors) - found}
        assert missing == {entry for entry in excused("floor") if entry.startswith(f"{wing}.")}


def test_a_module_imports_its_own_floor_or_a_lower_one() -> None:
    assert arrows_up(MODULES) == excused("arrow")


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert circles(MODULES) == excused("circle")


def test_every_excuse_is_of_a_known_kind_and_has_a_reason() -> None:
    assert {entry.split(" ", 1)[0] for entry in OPEN} <= {"arrow", "circle", "floor", "name"}
    assert all(OPEN.values())


def probe(name: str, text: str) -> Module:
    return Module(name, Path("probe.py"), ast.parse(text))


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("from ..steps import conv", True),
        ("from ..steps.conv import anything", True),
        ("def f():\n    from ..session.session import InferenceSession", True),
        (
            "if TYPE_CHECKING:\n    from ..session.session import InferenceSession",
            True,
        ),
        ("class A:\n    try:\n        from ..zoo import names\n    except ImportError:\n        pass", True),
        ("from .. import InferenceSession", True),
        ("from ..layout import words\nfrom .thresholds import integer_thresholds\nfrom ..bits import DOMAIN", False),
        ("from ...export import writer", False),  # the staircase's matter: test_imports
    ],
)
def test_the_law_of_floors_is_not_blind(text: str, seen: bool) -> None:
    assert bool(arrows_up([probe("runtime.plan.probe", text)])) is seen


def test_files_of_the_pipeline_and_inits_of_folders_have_floors_too() -> None:
    assert arrows_up([probe("pipeline.config", "def f():\n    from .cli import main")]) == {
        "pipeline.config -> pipeline.cli"
    }
    folder = Module("runtime.plan", Path("plan/__init__.py"), ast.parse("from ..proof.accuracy import check"))
    assert arrows_up([folder]) == {"runtime.plan -> runtime.proof.accuracy"}


def test_the_law_of_circles_is_not_blind() -> None:
    lazy = probe("runtime.bits", "def f():\n    from .errors import ModelError")
    typing = probe("runtime.errors", "if TYPE_CHECKING:\n    from . import files")
    top = probe("runtime.files", "from .bits import DOMAIN")
    other = probe("runtime.lazy", "from .bits import DOMAIN")
    assert circles([lazy, typing, top, other]) == {"runtime.bits, runtime.errors, runtime.files"}
    assert circles([lazy, typing, other]) == set()
    assert circles([probe("runtime.bits", "from .bits import DOMAIN")]) == {"runtime.bits"}
