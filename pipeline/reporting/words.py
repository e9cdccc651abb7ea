"""Figures in words: how the page writes shares, sizes and times."""

from ...runtime.proof.report import Times

__all__ = ["count", "milliseconds", "percent", "points", "size", "small"]

_SPACE = "\N{NO-BREAK SPACE}"
"""Between a number and its unit: no line ends there."""


def percent(value: float | None, digits: int = 2) -> str:
    """Return a fraction in percent."""
    return "none" if value is None else f"{100 * value:.{digits}f}{_SPACE}%"


def points(difference: float) -> str:
    """Return the difference of two fractions in percentage points, with its sign."""
    return "±0" if abs(difference) < 5e-7 else f"{100 * difference:+.2f} points".replace("-", "−")


def size(number: int) -> str:
    """Return bytes in KiB, or in MiB from one on."""
    return f"{number / 2**20:.2f}{_SPACE}MiB" if number >= 2**20 else f"{number / 1024:.1f}{_SPACE}KiB"


def count(number: int) -> str:
    """Return a number in thousands or millions, with three figures."""
    for limit, unit in ((1e9, f"{_SPACE}G"), (1e6, f"{_SPACE}M"), (1e3, f"{_SPACE}k")):
        if number >= limit:
            return f"{number / limit:.3g}{unit}"
    return str(number)


def milliseconds(value: Times) -> str:
    """Return a median."""
    return f"{value.median:.3f}{_SPACE}ms" if value.median < 10 else f"{value.median:.1f}{_SPACE}ms"


def small(value: float | None) -> str:
    """Return a difference: two figures, "not finite" for None."""
    return "not finite" if value is None else "0" if value == 0 else f"{value:.2g}"
