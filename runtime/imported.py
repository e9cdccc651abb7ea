"""Functions of the user's own, named ``package.module:function``: found, imported, called, and known by their source.

A module is looked up in one folder first, then among the installed packages. What is found there is the user's
program: importing it runs it. So nothing here takes a name out of a model file or a bundle.
"""

import ast
import difflib
import importlib
import importlib.machinery
import inspect
import re
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from .errors import ConfigError, first_line
from .files import sha256_file

__all__ = ["arguments_for", "explain", "import_function", "is_named", "source_digests"]

_NAME = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")
_imported: dict[str, dict[str, str]] = {}
"""By module: the digests of the sources that it was imported from."""
_added: set[str] = set()
"""Folders that were put into ``sys.path`` here. Only the last one stays: what is gone is not found in another."""


def is_named(name: str) -> bool:
    """Tell whether a name has the form ``package.module:function``."""
    return _NAME.fullmatch(name) is not None


def import_function(option: str, name: str, folder: str = "") -> Callable[..., Any]:
    """Import ``package.module:function`` from ``folder`` (empty: the current one) or the installed packages.

    A module whose source has changed since it was imported is imported anew. Raises :class:`ConfigError`, one line that
    begins with ``option``, where there is no such module or function, or the module cannot be imported.
    """
    shown = f"{option} = {name!r}"
    if not is_named(name):
        raise ConfigError(f"{shown}: write package.module:function")
    module, _, path = name.partition(":")
    place = str(Path(folder or ".").resolve())
    digests = source_digests(option, name, folder)
    if _imported.get(module, digests) != digests or any(_stranger(other, place) for other in digests):
        for other in digests:
            sys.modules.pop(other, None)
    if place not in sys.path:
        _added.add(place)
    sys.path[:] = [place, *_others(place)]
    importlib.invalidate_caches()
    writes, sys.dont_write_bytecode = sys.dont_write_bytecode, True  # of two versions in a second it keeps the first
    try:
        found: Any = importlib.import_module(module)
    except Exception as error:
        raise ConfigError(f"{shown}: importing {module} failed: {explain(error)}") from error
    finally:
        sys.dont_write_bytecode = writes
    _imported[module] = digests
    for part in path.split("."):
        if not hasattr(found, part):
            near = difflib.get_close_matches(part, dir(found), 1)
            raise ConfigError(f"{shown}: {module} has no {path}" + (f"; did you mean {near[0]}?" if near else ""))
        found = getattr(found, part)
    if not callable(found):
        raise ConfigError(f"{shown} is a {type(found).__name__}: name a function")
    function: Callable[..., Any] = found
    return function


def arguments_for(option: str, name: str, function: Callable[..., Any], offered: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of the ``offered`` keywords that a function takes by its signature (all, if it takes ``**any``).

    Raises :class:`ConfigError` where it needs an argument that is not offered.
    """
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        raise ConfigError(f"{option} = {name!r} has no signature that can be read: wrap it in a function") from None
    keywords = {one.name for one in parameters if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)}
    for one in parameters:
        needed = one.default is one.empty and one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)
        if needed and (one.name not in keywords or one.name not in offered):
            known = ", ".join(sorted(offered)) or "no argument"
            raise ConfigError(
                f"{option} = {name!r} needs an argument {one.name!r}, which it is not called with: give it a default"
                f" (it may take {known})"
            )
    if any(one.kind is one.VAR_KEYWORD for one in parameters):
        return dict(offered)
    return {key: value for key, value in offered.items() if key in keywords}


def explain(error: BaseException) -> str:
    """Return an error of the user's code in one line: its type, its text, and the line of his file that raised it."""
    text = f"{type(error).__name__}: {first_line(error)}" if str(error).strip() else type(error).__name__
    others = {Path(__file__).resolve().parents[1], Path(sysconfig.get_path("stdlib")).resolve()}
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if "site-packages" not in frame.filename
        and not frame.filename.startswith("<")
        and not others & set(Path(frame.filename).resolve().parents)
    ]
    return f"{text} ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else text


def source_digests(option: str, name: str, folder: str = "") -> dict[str, str]:
    """Return the sha256 of the module of ``package.module:function`` by its name, importing nothing.

    With it come the modules that it imports from the same folder, and those that they import. Raises
    :class:`ConfigError` where there is no such module.
    """
    module = name.partition(":")[0]
    place = str(Path(folder or ".").resolve())
    importlib.invalidate_caches()
    source = _locate(module, [place, *_others(place)])
    if source is None:
        raise ConfigError(
            f"{option} = {name!r}: there is no module {module} in {place}, nor among the installed packages"
        )
    found: dict[str, Path] = {module: source}
    waiting = [module] if _within(source, place) else []
    while waiting:
        current = waiting.pop()
        for other in _imports(current, found[current]):
            path = None if other in found else _locate(other, [place])
            if path is not None:
                found[other] = path
                waiting.append(other)
    return {name: sha256_file(path) for name, path in sorted(found.items()) if path.is_file()}


def _others(place: str) -> list[str]:
    """Return where modules that do not lie in a folder are looked for."""
    return [entry for entry in sys.path if entry != place and entry not in _added]


def _within(path: Path, place: str) -> bool:
    return Path(place) in path.resolve().parents


def _stranger(module: str, place: str) -> bool:
    """Tell whether a module of this name was imported from another place than the folder that holds it."""
    loaded = getattr(sys.modules.get(module), "__file__", None)
    wanted = _locate(module, [place])
    return loaded is not None and wanted is not None and Path(loaded).resolve() != wanted.resolve()


def _locate(module: str, path: list[str]) -> Path | None:
    """Return the file of a module without importing its packages."""
    places: list[str] | None = path
    spec = None
    for end in (index for index, letter in enumerate(f"{module}.") if letter == "."):
        part = module[:end]
        spec = importlib.machinery.PathFinder.find_spec(part, places)
        if spec is None and places is path and len(path) > 1:  # an editable install has a finder of its own
            others = (finder for finder in sys.meta_path if finder is not importlib.machinery.PathFinder)
            spec = next((found for finder in others if (found := finder.find_spec(part, None)) is not None), None)
        if spec is None:
            return None
        places = list(spec.submodule_search_locations or ())
    return Path(spec.origin) if spec is not None and spec.origin is not None else None


def _imports(module: str, source: Path) -> Iterator[str]:
    """Yield the names that a source file may import, with the packages that they lie in."""
    try:
        tree = ast.parse(source.read_bytes())
    except (SyntaxError, ValueError, OSError):
        return  # the import will say what is wrong
    package = module if source.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".") if package else []
            parents = parts[: len(parts) - node.level + 1] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            names = [base, *(f"{base}.{alias.name}" if base else alias.name for alias in node.names)]
        for name in names:
            for end in (index for index, letter in enumerate(f"{name}.") if letter == "."):
                if name[:end]:
                    yield name[:end]
