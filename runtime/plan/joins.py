"""Values that lie in a wider one: a Concat is written where its operands are made, a Split is read where it lies.

::

    unit ─► a ─┐                     [ a | b | · ]  one memory, the home; units write a and b at their channels of it,
               Concat ─► c ─► unit   [   c   | · ]  the Concat of a and b is done, and whoever packs c reads it there
    unit ─► b ─┘

In a DenseNet each layer reads a longer Concat than the one before it: all of them lie in the longest. Whoever reads a
value by the channels of a wider one must know how far apart its pixels lie: packing, moves, pools and upsampling do. A
value that anybody else reads keeps memory of its own, and a Concat copies it.
"""

from collections.abc import Iterable, Sequence

from .levels import Levels
from .parts import Part, Place
from .pool import Pool
from .route import Route, runs
from .units import Unit
from .upsample import Upsample

__all__ = ["find_places"]

_Run = tuple[str, int, int]
"""Channels of a value: its name, the first one and how many."""


def find_places(parts: Sequence[Part], levels: Levels) -> dict[str, Place]:
    """Return the place of every value that lies in another one, and of those in which others lie."""
    finder = _Finder(parts, levels)
    order = {part: (levels.of_part[part], index) for index, part in enumerate(parts)}
    for part in sorted(order, key=lambda part: order[part], reverse=True):
        if isinstance(part, Route):
            finder.place(part)
    return finder.places()


class _Finder:
    """Walks over the routes from the last to the first, so that the longest of growing values is seen first."""

    def __init__(self, parts: Sequence[Part], levels: Levels) -> None:
        self._writers = {part.output for part in parts if isinstance(part, Pool | Route | Unit | Upsample)}
        self._whole = {*levels.outputs, *(name for names in levels.reads.values() for name in names)}
        """Values that somebody reads as they lie in memory of their own."""
        for part in parts:
            self._whole.update(_whole_reads(part))
        self._sizes: dict[str, int] = {}
        self._contents: dict[str, dict[_Run, set[int]]] = {}
        """By value that joins others the runs in it and where they begin there, each perhaps several times."""
        self._lies_in: dict[str, tuple[str, int]] = {}

    def place(self, route: Route) -> None:
        """Let a route have a place in what is there already, or be the home of what it joins."""
        self._sizes[route.output] = len(route.move.which)
        self._sizes.update(zip(route.reads, route.sizes, strict=True))
        if not route.straight:
            return  # channels that change places are moved
        taken = [((route.reads[which], first, count), target) for which, first, _, target, _, count in runs(route.move)]
        if route.output not in self._whole and self._settle(route, taken):
            return
        contents = self._contents.setdefault(route.output, {})
        for (name, first, count), target in taken:
            contents.setdefault((name, first, count), set()).add(target)
            free = name in self._writers and not {name} & {*self._whole, *self._lies_in, *self._contents}
            if free and first == 0 and count == self._sizes[name]:
                self._lies_in[name] = route.output, target

    def _settle(self, route: Route, taken: Sequence[tuple[_Run, int]]) -> bool:
        """Let a value lie in what it is a slice of, or in a home that has its runs in the same order, side by side."""
        if route.slices:
            self._lies_in[route.output] = route.reads[0], int(route.move.channel[0])
            return True
        for name, contents in self._contents.items():
            places = set.intersection(*({at - target for at in contents.get(run, ())} for run, target in taken))
            if places:
                self._lies_in[route.output] = name, min(places)
                return True
        return False

    def places(self) -> dict[str, Place]:
        """Return where everything lies."""
        found = {name: self._resolved(name) for name in self._lies_in}
        return found | {place.home: Place(place.home, 0, place.channels) for place in found.values()}

    def _resolved(self, name: str) -> Place:
        first = 0
        while name in self._lies_in:
            name, offset = self._lies_in[name]
            first += offset
        return Place(name, first, self._sizes[name])


def _whole_reads(part: Part) -> Iterable[str]:
    """Return the values that a part reads as they lie in memory of their own."""
    if isinstance(part, Pool | Route | Upsample):
        return ()
    return part.reads[1:] if isinstance(part, Unit) else part.reads
