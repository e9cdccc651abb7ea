"""What the house tests look at: the modules of the package, read and never imported."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
WINGS = ("training", "export", "runtime", "pipeline")


@dataclass(frozen=True)
class Module:
    """One source file; ``name`` is dotted and without ``latentbit``: ``runtime.bits``."""

    name: str
    path: Path
    tree: ast.Module

    @property
    def wing(self) -> str:
        return self.name.split(".")[0]

    @property
    def is_package(self) -> bool:
        return self.path.name == "__init__.py"

    def assigned(self, name: str) -> ast.expr | None:
        """Return what is assigned to ``name`` at the top of the file, None where nothing is."""
        for node in self.tree.body:
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            if any(isinstance(target, ast.Name) and target.id == name for target in targets):
                value = getattr(node, "value", None)
                return value if isinstance(value, ast.expr) else None
        return None

    def exported(self) -> list[str] | None:
        """Return ``__all__``, None where there is none."""
        value = self.assigned("__all__")
        return None if value is None else [str(name) for name in ast.literal_eval(value)]


@dataclass(frozen=True)
class Import:
    """One imported module and its names.

    ``at_top``: it happens when the importing module is imported; ``typing``: only a type checker sees it.
    """

    module: str
    names: tuple[str, ...]
    relative: bool
    at_top: bool
    typing: bool
    line: int


def modules() -> list[Module]:
    """Return the modules of the wings."""
    return [read(path) for wing in WINGS for path in sorted((CHECKOUT / wing).rglob("*.py"))]


def read(path: Path) -> Module:
    """Return any source file of the checkout."""
    parts = path.relative_to(CHECKOUT).with_suffix("").parts
    name = ".".join(part for part in parts if part != "__init__")
    return Module(name, path, ast.parse(path.read_text(encoding="utf-8"), str(path)))


def imports(module: Module) -> list[Import]:
    """Return every import of a module, lazy ones and those below ``if TYPE_CHECKING:``; a relative one is resolved."""
    found: list[Import] = []
    _collect(module, module.tree.body, True, False, found)
    return found


def _collect(module: Module, body: list[ast.stmt], at_top: bool, typing: bool, found: list[Import]) -> None:
    for node in body:
        if isinstance(node, ast.Import):
            found.extend(Import(alias.name, (), False, at_top, typing, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            found.extend(_resolve(module, node, at_top, typing))
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            _collect(module, node.body, False, True, found)
            _collect(module, node.orelse, at_top, typing, found)
        else:
            inner = at_top and not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            for name in ("body", "orelse", "finalbody", "handlers", "cases"):
                for child in getattr(node, name, []):
                    _collect(module, [child] if isinstance(child, ast.stmt) else child.body, inner, typing, found)


def target_of(module: Module, node: ast.ImportFrom) -> str:
    """Return the dotted name that a ``from`` statement reads, without ``latentbit``; the package itself is empty."""
    if not node.level:
        return (node.module or "").removeprefix("latentbit").removeprefix(".")
    parts = module.name.split(".")
    package = parts if module.is_package else parts[:-1]
    base = package[: len(package) - (node.level - 1)]
    return ".".join([*base, *([node.module] if node.module else [])])


def _resolve(module: Module, node: ast.ImportFrom, at_top: bool, typing: bool) -> list[Import]:
    names = tuple(alias.name for alias in node.names)
    if not node.level:
        return [Import(node.module or "", names, False, at_top, typing, node.lineno)]
    target = target_of(module, node)
    submodules = [name for name in names if is_module(target, name)]
    rest = tuple(name for name in names if name not in submodules)
    found = [Import(f"{target}.{name}".strip("."), (), True, at_top, typing, node.lineno) for name in submodules]
    if rest or not names:
        found.append(Import(target, rest, True, at_top, typing, node.lineno))
    return found


def is_module(target: str, name: str) -> bool:
    """Return whether ``name`` in the package ``target`` is a module, not a value."""
    base = CHECKOUT.joinpath(*target.split(".")) if target else CHECKOUT
    return (base / f"{name}.py").is_file() or (base / name / "__init__.py").is_file()


def uses(module: Module) -> Iterator[tuple[str, str]]:
    """Yield ``(module, name)`` for each name of the package that a file imports, or reads from a module it imports."""
    aliases: dict[str, str] = {}
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ImportFrom) and (node.level or (node.module or "").split(".")[0] == "latentbit"):
            target = target_of(module, node)
            for alias in node.names:
                yield target, alias.name
                aliases[alias.asname or alias.name] = f"{target}.{alias.name}".strip(".")
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "latentbit":
                    aliases[alias.asname or "latentbit"] = alias.name.removeprefix("latentbit").removeprefix(".")
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Attribute):
            first, *rest = ast.unparse(node).split(".")
            if first in aliases and all(part.isidentifier() for part in rest):
                *path, name = rest
                yield ".".join(filter(None, [aliases[first], *path])), name
