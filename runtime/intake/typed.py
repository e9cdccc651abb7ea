"""JSON read by type: a dataclass from a dictionary, each value of the kind that its field says."""

import dataclasses
import types
from collections.abc import Mapping
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

__all__ = ["from_json"]

Kind = TypeVar("Kind")


def from_json(kind: type[Kind], value: Any, where: str = "") -> Kind:
    """Return ``value``, as :func:`.files.parse_json` gives it, as a ``kind``; a dataclass is made with its defaults.

    kind: a dataclass, ``str``, ``bool``, ``int``, ``float`` (whole numbers are taken too), ``Any``, a mapping from
    names, ``tuple[X, ...]``, or one of these or None. Raises TypeError, naming the place, for anything else.
    """
    found: Any = _read(kind, value, where)
    return found  # type: ignore[no-any-return]


def _read(kind: Any, value: Any, where: str) -> Any:
    origin, parts = get_origin(kind), get_args(kind)
    if kind is Any:
        return value
    if origin in (types.UnionType,):
        inner = next(part for part in parts if part is not type(None))
        return None if value is None else _read(inner, value, where)
    if dataclasses.is_dataclass(kind):
        return _dataclass(kind, _of(dict, value, where), where)
    if origin is tuple:
        return tuple(_read(parts[0], each, f"{where}[{place}]") for place, each in enumerate(_of(list, value, where)))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {key: _read(parts[1], each, f"{where}.{key}") for key, each in _of(dict, value, where).items()}
    return float(_of((int, float), value, where)) if kind is float else _of(kind, value, where)


def _dataclass(kind: Any, entries: dict[str, Any], where: str) -> Any:
    hints = get_type_hints(kind)
    known = {each.name: each for each in dataclasses.fields(kind)}
    if unknown := sorted(set(entries) - set(known)):
        raise TypeError(f"{where or kind.__name__} has an entry {unknown[0]!r}")
    needed = {name for name, each in known.items() if each.default is each.default_factory is dataclasses.MISSING}
    if missing := sorted(needed - set(entries)):
        raise TypeError(f"{where or kind.__name__} has no {missing[0]}")
    return kind(**{name: _read(hints[name], value, f"{where}.{name}".lstrip(".")) for name, value in entries.items()})


def _of(kind: Any, value: Any, where: str) -> Any:
    kinds = kind if isinstance(kind, tuple) else (kind,)
    if type(value) not in kinds:
        raise TypeError(f"{where or 'it'} is a {type(value).__name__}, not a {kinds[-1].__name__}")
    return value
