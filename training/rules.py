"""What the values of training options may be: a rule with what to say of a value that breaks it."""

import re
from collections.abc import Callable, Sequence
from dataclasses import field
from typing import Any, TypeVar

__all__ = [
    "BITS",
    "NOT_NEGATIVE",
    "POSITIVE",
    "SHARE",
    "SHARE_ABOVE_0",
    "SHARE_BELOW_1",
    "SIGN_OR_ZERO",
    "Rule",
    "at_least",
    "one_of",
    "ruled",
]

Value = TypeVar("Value")
Rule = tuple[Callable[[Any], bool], str]
"""Whether a value may be, and what to say of one that may not."""

NOT_NEGATIVE: Rule = (lambda value: value >= 0, "must not be negative, but is {}")
POSITIVE: Rule = (lambda value: value > 0, "must be positive, not {}")
SHARE_ABOVE_0: Rule = (lambda value: 0 < value <= 1, "must lie in (0, 1], not {}")
SHARE_BELOW_1: Rule = (lambda value: 0 <= value < 1, "must lie in [0, 1), not {}")
SHARE: Rule = (lambda value: 0 <= value <= 1, "must lie in [0, 1], not {}")
BITS: Rule = (
    lambda value: bool(re.fullmatch("([0-8]+1)?", value)),
    "is a digit from 0 to 8 a stage, the last 1, not {!r}",
)
SIGN_OR_ZERO: Rule = (lambda value: value in (-1, 0, 1), "must be -1, 0 or 1, not {}")


def at_least(least: int) -> Rule:
    """Return the rule that a value is not smaller than ``least``."""
    return (lambda value: value >= least, f"must be at least {least}, not {{}}")


def ruled(default: Value, rule: Rule) -> Value:
    """Return a field whose values obey a rule."""
    return field(default=default, metadata={"rule": rule})


def one_of(default: str, choices: Sequence[str]) -> str:
    """Return a field that takes one of these names; :func:`table_of` holds what they mean."""
    return field(default=default, metadata={"choices": tuple(choices)})
