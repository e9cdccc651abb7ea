"""Loops in the assembly of a kernel: found by what they are made of, and laid out as one straight run of a turn."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping

__all__ = ["loops", "shortest"]

_LABEL = re.compile(r"^(\.?\w+):")
_BRANCH = re.compile(r"^(b|b\.\w+|cbn?z|tbn?z)\t(?:.*\s)?(\.?\w+)$")
_LONGEST, _WAYS = 300, 40
"""Instructions of a way, and ways round a place, that are looked at: a function has ways without end."""


def loops(text: str) -> Iterator[tuple[str, ...]]:
    """Yield the ways round each place that a branch leads back to: instructions in the order in which they run.

    A branch that is not taken stays in it, one that is taken and has no condition is left out.
    """
    lines, labels = list[str](), dict[str, int]()
    for line in text.splitlines():
        if match := _LABEL.match(line):
            labels[match[1]] = len(lines)
        elif re.match(r"\t[a-z]", line):
            lines.append(line.strip())
    targets = [(place, match) for place, line in enumerate(lines) if (match := _BRANCH.match(line))]
    heads = {labels[match[2]] for place, match in targets if labels.get(match[2], place + 1) <= place}
    for head in sorted(heads):
        yield from _ways(lines, labels, head)


def _ways(lines: list[str], labels: Mapping[str, int], head: int) -> Iterator[tuple[str, ...]]:
    """Yield the ways from ``head`` back to it that pass no instruction twice and no inner loop."""
    waiting = [(head, list[int]())]
    for _ in range(_WAYS):
        if not waiting:
            return
        place, passed = waiting.pop()
        seen = set(passed)
        while place < len(lines) and place not in seen and len(passed) < _LONGEST and lines[place] != "ret":
            seen.add(place)
            match = _BRANCH.match(lines[place])
            target = labels.get(match[2]) if match else None
            plain = match is not None and match[1] == "b"
            if target == head:
                yield tuple(lines[each] for each in (*passed, place))
            elif target is not None and target not in seen:
                waiting.append((target, passed.copy() if plain else [*passed, place]))
            if plain:
                break
            passed.append(place)
            place += 1


def shortest(text: str, counts: Mapping[str, int]) -> tuple[str, ...] | None:
    """Return the shortest way round a loop that has just so many of these instructions, None if there is none."""
    found = [
        way
        for way in loops(text)
        if all(Counter(line.split("\t")[0] for line in way)[name] == count for name, count in counts.items())
    ]
    return min(found, key=len, default=None)
