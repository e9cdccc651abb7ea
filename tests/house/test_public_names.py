"""What is public is used: a name in an ``__all__`` is read by somebody, or documented for those who install this."""

import ast
import re
from collections.abc import Iterable
from pathlib import Path

from .open import excused
from .source import CHECKOUT, WINGS, Module, modules, read, target_of, uses

PAGES = [CHECKOUT / "README.md", CHECKOUT / "CONTRIBUTING.md", *sorted((CHECKOUT / "docs").glob("*.md"))]
CODE = re.compile(r"^```.*?^```|`[^`\n]+`|^    .+$", re.S | re.M)


def handed_on(found: Iterable[Module]) -> dict[tuple[str, str], tuple[str, str]]:
    """Map each name that an ``__init__`` hands on to where it comes from."""
    return {
        (module.name, alias.asname or alias.name): (target_of(module, node), alias.name)
        for module in found
        if module.is_package
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ImportFrom) and node.level
        for alias in node.names
    }


def spoken(found: Iterable[Module]) -> set[tuple[str, str]]:
    """Return ``(module, word)`` for each name that a module has as a string, ``"name"`` or ``"place:name"``.

    So a kernel is named, which is loaded by its name and never imported.
    """
    return {
        (module.name, re.split(r"[:.]", node.value)[-1])
        for module in found
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and re.fullmatch(r"[\w.:]+", node.value)
    }


def annotated(module: Module) -> set[str]:
    """Return the words in the annotations of a module: the types of what its public names take and return."""
    found: list[ast.expr | None] = []
    for node in ast.walk(module.tree):
        if isinstance(node, ast.FunctionDef):
            found += [node.returns, *(argument.annotation for argument in (*node.args.args, *node.args.kwonlyargs))]
        elif isinstance(node, ast.AnnAssign):
            found.append(node.annotation)
    return {word for expression in found if expression for word in re.findall(r"\w+", ast.unparse(expression))}


def unread(wings: list[Module], others: list[Module], pages: str) -> set[str]:
    """Return the public names that nobody reads: no module, test, benchmark or tool, no page, no annotation.

    An ``__init__`` of a folder reads nothing by handing on; that of a wing makes its names public.
    """
    homes = handed_on(wings)
    read_by_somebody = {homes[key] for key in homes if key[0] in WINGS}
    for module in (*wings, *others):
        if not module.is_package:
            for use in uses(module):
                read_by_somebody.add(use)
                while use in homes:
                    use = homes[use]
                    read_by_somebody.add(use)
    documented = {word for code in CODE.findall(pages) for word in re.findall(r"\w+", code)}
    words = spoken(wings)
    return {
        f"{module.name}.{name}"
        for module in wings
        if not module.is_package
        for name in module.exported() or []
        if (module.name, name) not in read_by_somebody
        and name not in documented | annotated(module)
        and not any(word == name and place != module.name for place, word in words)
    }


def everybody() -> list[Module]:
    """Return the modules of the checkout that lie in no wing."""
    places = [path for folder in ("tests", "bench", "tools") for path in sorted((CHECKOUT / folder).rglob("*.py"))]
    return [read(path) for path in [*places, CHECKOUT / "__main__.py"]]


def test_a_public_name_is_read_by_somebody_or_documented() -> None:
    pages = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert unread(modules(), everybody(), pages) == excused("name"), "take it out of __all__, or say what it is for"


def test_the_law_is_not_blind() -> None:
    home = Module(
        "runtime.home",
        Path("home.py"),
        ast.parse('__all__ = ["A", "B", "C", "D", "E", "F", "G", "H"]\ndef f(x: "E") -> None: ...'),
    )
    surface = Module("runtime", Path("runtime/__init__.py"), ast.parse("from .home import F"))
    folder = Module("runtime.plan", Path("plan/__init__.py"), ast.parse("from ..home import G"))
    user = Module("runtime.user", Path("user.py"), ast.parse("def f():\n    from .home import A\nplace = 'home:C'"))
    test = Module("tests.t", Path("t.py"), ast.parse("from latentbit.runtime import home as h\nprint(h.B)"))
    found = unread([home, surface, folder, user], [test], "A page with `D` and the word H.")
    assert found == {"runtime.home.G", "runtime.home.H"}
