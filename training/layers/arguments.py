"""Arguments of layers: what is no positive integer, or no pair of them, is refused by name."""

from typing import Any

from ...runtime.errors import ConfigError

__all__ = ["pair", "require_positive"]


def require_positive(layer: str, **values: int) -> None:
    """Raise ConfigError for the first of ``values`` that is not an integer of at least 1."""
    for name, value in values.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ConfigError(f"{layer}: {name} must be a positive integer, not {value!r}")


def pair(value: Any, name: str = "a size", least: int = 0) -> tuple[int, int]:
    """Return a setting of a layer as (rows, columns); one number stands for both.

    ConfigError names the setting if it is anything but one or two integers of at least ``least``.
    """
    both = tuple(value) if isinstance(value, tuple | list) else (value, value)
    if len(both) != 2 or any(not isinstance(one, int) or one < least for one in both):
        raise ConfigError(f"{name} must be one or two integers of at least {least}, not {value!r}")
    return both[0], both[1]
