"""JSON by type: what has the fields of a dataclass becomes one; all else is a TypeError that names the place."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from latentbit.runtime.intake.typed import from_json


@dataclass(frozen=True)
class Inner:
    count: int
    share: float | None = None


@dataclass(frozen=True)
class Outer:
    name: str
    inner: Inner
    more: Mapping[str, Inner] = field(default_factory=dict)
    words: tuple[str, ...] = ()
    rest: Any = None


WHOLE = {"name": "a", "inner": {"count": 1, "share": 2}, "more": {"b": {"count": 3}}, "words": ["c"], "rest": [None]}


def test_what_fits_becomes_the_dataclass() -> None:
    made = from_json(Outer, WHOLE)
    assert made == Outer("a", Inner(1, 2.0), {"b": Inner(3)}, ("c",), [None])
    assert isinstance(made.inner.share, float)
    assert from_json(Outer, {"name": "a", "inner": {"count": 1, "share": None}}) == Outer("a", Inner(1))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": 1}, "name is a int, not a str"), ({"inner": []}, "inner is a list, not a dict"),
        ({"inner": {"count": True}}, "inner.count is a bool, not a int"), ({"inner": {}}, "inner has no count"),
        ({"inner": {"count": 1, "share": "x"}}, "inner.share is a str, not a float"), ({"new": 1}, "an entry 'new'"),
        ({"more": {"b": None}}, "more.b is a NoneType"), ({"words": ["c", 2]}, r"words\[1\] is a int"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_told_with_its_place(change: dict[str, Any], said: str) -> None:
    with pytest.raises(TypeError, match=said):
        from_json(Outer, WHOLE | change)


@pytest.mark.parametrize("value", [None, 7, "text", [], [{}]])
def test_no_dictionary_is_no_dataclass(value: Any) -> None:
    with pytest.raises(TypeError, match="not a dict"):
        from_json(Outer, value)
