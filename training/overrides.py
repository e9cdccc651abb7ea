"""A configuration as people write it: a TOML file, and single values ``SECTION.KEY=VALUE`` on top of it.

The one place where ``-s`` is read, for ``pipeline`` and for ``python -m latentbit.training``. It imports no torch.
"""

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..runtime.errors import ConfigError

__all__ = ["read_override", "read_toml"]


def read_toml(path: Path) -> dict[str, Any]:
    """Return the tables of a configuration file. Raises :class:`ConfigError` where it cannot be read."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read the configuration {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:  # no TOML, no UTF-8, or nested too deeply
        raise ConfigError(f"{path} is not valid TOML: {error}") from error


def read_override(text: str, type_of: Callable[[str, str], type | None]) -> tuple[str, str, Any]:
    """Return section, key and value of ``SECTION.KEY=VALUE``.

    The value is TOML; a bare word is a string, and so is anything without quotes for a key whose ``type_of(section,
    key)`` is str. Raises :class:`ConfigError` for a text of another form.
    """
    target, equals, written = text.partition("=")
    section, dot, key = target.strip().partition(".")
    if not equals or not dot:
        raise ConfigError(f"-s {text}: write SECTION.KEY=VALUE, as in -s train.epochs=3")
    if type_of(section, key) is str and written[:1] not in ("'", '"'):
        return section, key, written.strip()
    try:
        return section, key, tomllib.loads(f"value = {written}")["value"]
    except (ValueError, RecursionError):
        return section, key, written
