"""Public names of a package that load their home module on first use (PEP 562)."""

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

__all__ = ["lazy"]


def lazy(package: str, homes: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return ``__getattr__`` and ``__dir__`` for the package of this name.

    Args:
        package: ``__name__`` of the package.
        homes: for every public name that loads late, the module it lives in, relative to the package (``"session"``).

    ``__dir__`` gives the names that are there already and those that would load, so tab completion shows both.
    """

    def load(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(f".{homes[name]}", package), name)

    def names() -> list[str]:
        return sorted(homes.keys() | vars(sys.modules[package]).keys())

    return load, names
