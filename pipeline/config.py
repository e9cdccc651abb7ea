"""Configuration: TOML files and ``-s section.key=value`` become a :class:`~.sections.Config`, or one clear line.

Every refusal is a :class:`ConfigError` that names the key, where it was written, and what would be right.
"""

import dataclasses
import difflib
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, get_type_hints

from ..runtime.errors import ConfigError
from ..training.overrides import read_override, read_toml
from .sections import Config

__all__ = ["difference", "from_mapping", "read", "to_mapping"]

_TYPE_NAMES = {bool: "true or false", int: "a whole number", float: "a number", str: "a string"}
_SECTIONS: dict[str, type] = get_type_hints(Config)


def read(path: Path | None = None, overrides: Iterable[str] = (), base: Config | None = None) -> Config:
    """Return ``base`` (default: all defaults), changed by the TOML file ``path``, then by the ``overrides``.

    An override is ``section.key=value``, its value TOML or, for a string, the bare word. Functions of the user's are
    looked up in the folder of the file (without a file the current one) unless ``train.code`` names another.
    Raises :class:`ConfigError`.
    """
    config = base or Config()
    if path is not None:
        config = from_mapping(read_toml(path), where=str(path), base=config)
    for override in overrides:
        config = _apply(override, config)
    return _with_code(config, path.parent if path is not None else Path())


def _with_code(config: Config, folder: Path) -> Config:
    """Say where the user's functions are looked up, if there are any; a relative place counts from ``folder``."""
    if not config.train.named():
        return config
    code = str((folder / config.train.code).resolve())
    return dataclasses.replace(config, train=dataclasses.replace(config.train, code=code))


def from_mapping(values: Mapping[str, Any], *, where: str, base: Config | None = None) -> Config:
    """Return ``base`` with the sections and keys of ``values`` put in; ``where`` names their source in errors."""
    config = base or Config()
    for name, section in values.items():
        if name not in _SECTIONS:
            raise ConfigError(f"unknown section [{name}] in {where}{_nearest(name, _SECTIONS)}")
        if not isinstance(section, Mapping):
            raise ConfigError(f"{name} in {where} must be a section: write [{name}] and its keys below")
        old = getattr(config, name)
        changes = {key: _checked(name, key, value, where) for key, value in section.items()}
        config = dataclasses.replace(config, **{name: dataclasses.replace(old, **changes)})
    return config


def to_mapping(config: Config) -> dict[str, dict[str, Any]]:
    """Return the resolved configuration as plain values, ready for JSON."""
    return dataclasses.asdict(config)


def difference(old: Config, new: Config) -> list[str]:
    """Return a line ``section.key: old -> new`` for every key in which two configurations differ."""
    before, after = to_mapping(old), to_mapping(new)
    return [
        f"{section}.{key}: {before[section][key]} -> {value}"
        for section, values in after.items()
        for key, value in values.items()
        if before[section][key] != value
    ]


def _apply(override: str, config: Config) -> Config:
    section, key, value = read_override(override, _field_type)
    return from_mapping({section: {key: value}}, where=f"-s {override}", base=config)


def _field_type(section: str, key: str) -> type | None:
    return get_type_hints(_SECTIONS[section]).get(key) if section in _SECTIONS else None


def _checked(section: str, key: str, value: Any, where: str) -> Any:
    """Return ``value`` in the type of its field, or refuse it."""
    expected = _field_type(section, key)
    if expected is None:
        known = [f"{name}.{field}" for name, kind in _SECTIONS.items() for field in get_type_hints(kind)]
        raise ConfigError(f"unknown key '{section}.{key}' in {where}{_nearest(f'{section}.{key}', known)}")
    if expected is float and type(value) is int:
        value = float(value)
    if type(value) is not expected:
        raise ConfigError(
            f"{section}.{key} = {value!r} in {where} must be {_TYPE_NAMES[expected]}, not {_describe(value)}"
        )
    fields = {field.name: field for field in dataclasses.fields(_SECTIONS[section])}
    _check_range(f"{section}.{key}", value, fields[key].metadata, where)
    return value


def _check_range(name: str, value: Any, limits: Mapping[str, Any], where: str) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{name} = {value} in {where} must be finite")
    choices = limits.get("choices")
    if choices is not None and value not in choices:
        raise ConfigError(
            f"{name} = {value!r} in {where} must be one of {', '.join(choices)}{_nearest(value, choices)}"
        )
    minimum, maximum = limits.get("minimum"), limits.get("maximum")
    if minimum is not None and value < minimum:
        raise ConfigError(f"{name} = {value} in {where} must be at least {minimum}")
    if maximum is not None and value > maximum:
        raise ConfigError(f"{name} = {value} in {where} must be at most {maximum}")


def _describe(value: Any) -> str:
    names = {**_TYPE_NAMES, list: "a list", dict: "a table"}
    return names.get(type(value), f"a {type(value).__name__}")


def _nearest(name: str, known: Iterable[str]) -> str:
    """Return the hint behind an unknown name: the nearest right one, else all of them when they are few."""
    candidates = list(known)
    key = name.rpartition(".")[2]
    close = [candidate for candidate in candidates if "." in name and candidate.endswith(f".{key}")][:1]
    close = close or difflib.get_close_matches(name, candidates, n=1, cutoff=0.5)
    if close:
        return f": did you mean '{close[0]}'?"
    return "" if len(candidates) > 12 else f": known are {', '.join(candidates)}"
