"""Other bytes and other JSON than a file holds, drawn at random."""

import json
from typing import Any

import numpy as np

__all__ = ["VALUES", "Random", "bytes_changed", "changed", "json_changed", "pick"]

VALUES: tuple[Any, ...] = (
    *(None, True, False, -1, 0, 1, 7, 2**31, 2**70, -0.5, 1e308, float("nan"), float("inf"), "", "x", "../../x", "ä\0"),
    *([], [1], ["a", None], {}, {"a": 1}, {"": {"": []}}, [[[[]]]], "9" * 5000),
)
Random = np.random.Generator


def pick(rng: Random, values: Any) -> Any:
    """Return one of some values."""
    return values[int(rng.integers(len(values)))]


def bytes_changed(data: bytes, rng: Random) -> bytes:
    """Return other bytes: some replaced, cut off, put in, or nested far too deep."""
    found, choice = bytearray(data), rng.random()
    if choice < 0.15:
        return bytes(found[: int(rng.integers(len(found) + 1))])
    if choice < 0.25:
        place = int(rng.integers(len(found) + 1))
        return bytes(found[:place] + rng.bytes(int(rng.integers(1, 40))) + found[place:])
    if choice < 0.28:
        return pick(rng, (b"[", b'{"a":', b"a = [")) * 100_000
    for place in rng.integers(0, max(1, len(found)), rng.integers(1, 5)):
        if found:
            found[place] = rng.integers(0, 256)
    return bytes(found)


def changed(value: Any, rng: Random) -> Any:
    """Return a JSON value in which one place holds another kind of thing, or nothing."""
    inner = (
        list(value.items()) if isinstance(value, dict) else list(enumerate(value)) if isinstance(value, list) else []
    )
    if not inner or rng.random() < 0.15:
        return pick(rng, VALUES)
    key, old = pick(rng, inner)
    copy = value.copy()
    if rng.random() < 0.1:
        del copy[key]
    elif isinstance(copy, dict) and rng.random() < 0.1:
        copy[pick(rng, ("new", "", "config", "train", str(key) + "s"))] = copy.pop(key)
    else:
        copy[key] = changed(old, rng)
    return copy


def json_changed(data: bytes | str, rng: Random) -> bytes:
    """Return another JSON text: a value in it is another, or its bytes are."""
    if rng.random() < 0.3:
        return bytes_changed(data.encode() if isinstance(data, str) else data, rng)
    return json.dumps(changed(json.loads(data), rng)).encode()
