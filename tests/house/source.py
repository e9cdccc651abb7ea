"""What the house tests look at: the modules of the package, read and never imported."""

import ast
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
WINGS = ("training", "export", "runtime", "pipeline")


@dataclass(frozen=True)
class Module:
    """One source file of a wing; ``name`` is dotted and without ``latentbit``: ``runtime.bits``."""

    name: str
    path: Path
    tree: ast.Module

    @property
    def wing(self) -> str:
        return self.name.split(".")[0]

    @property
    def is_package(self) -> bool:
        return self.path.name == "__init__.py"

    def exported(self) -> list[str] | None:
        """Return ``__all__``, None where there is none."""
        for node in self.tree.body:
            if isinstance(node, ast.Assign) and any(
                isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets
            ):
                return [str(name) for name in ast.literal_eval(node.value)]
        return None


@dataclass(frozen=True)
class Import:
    """One imported module, its names, and whether it happens when the importing module is imported."""

    module: str
    names: tuple[str, ...]
    relative: bool
    at_top: bool
    line: int


def modules() -> list[Module]:
    found = []
    for wing in WINGS:
        for path in sorted((CHECKOUT / wing).rglob("*.py")):
            parts = path.relative_to(CHECKOUT).with_suffix("").parts
            name = ".".join(part for part in parts if part != "__init__")
            found.append(Module(name, path, ast.parse(path.read_text(encoding="utf-8"), str(path))))
    return found


def imports(module: Module) -> list[Import]:
    """Return every import of a module, those below ``if TYPE_CHECKING:`` excepted; a relative one is resolved."""
    found: list[Import] = []
    _collect(module, module.tree.body, True, found)
    return found


def _collect(module: Module, body: list[ast.stmt], at_top: bool, found: list[Import]) -> None:
    for node in body:
        if isinstance(node, ast.Import):
            found.extend(Import(alias.name, (), False, at_top, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            found.extend(_resolve(module, node, at_top))
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            _collect(module, node.orelse, at_top, found)
        else:
            inner = at_top and not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            for name in ("body", "orelse", "finalbody", "handlers", "cases"):
                for child in getattr(node, name, []):
                    _collect(module, [child] if isinstance(child, ast.stmt) else child.body, inner, found)


def _resolve(module: Module, node: ast.ImportFrom, at_top: bool) -> list[Import]:
    names = tuple(alias.name for alias in node.names)
    if not node.level:
        return [Import(node.module or "", names, False, at_top, node.lineno)]
    parts = module.name.split(".")
    package = parts if module.is_package else parts[:-1]
    base = package[: len(package) - (node.level - 1)]
    target = ".".join([*base, *([node.module] if node.module else [])])
    submodules = [name for name in names if _is_module(target, name)]
    rest = tuple(name for name in names if name not in submodules)
    found = [Import(f"{target}.{name}".strip("."), (), True, at_top, node.lineno) for name in submodules]
    if rest or not names:
        found.append(Import(target, rest, True, at_top, node.lineno))
    return found


def _is_module(target: str, name: str) -> bool:
    base = CHECKOUT.joinpath(*target.split(".")) if target else CHECKOUT
    return (base / f"{name}.py").is_file() or (base / name / "__init__.py").is_file()
