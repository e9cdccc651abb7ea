"""Who makes and who reads the values between parts, and parts that take the place of others."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from .levels import Levels
from .parts import Part

__all__ = ["Replacements", "Wiring"]

Replacements = dict[Part, Part | None]
"""By part what takes its place, None for nothing."""


@dataclass(frozen=True, eq=False)
class Wiring:
    """By value the part that makes it, and the parts that read it, each as often as it does.

    ``outside`` are the values that float nodes read or that the model answers with.
    """

    made: Mapping[str, Part]
    readers: Mapping[str, Sequence[Part]]
    outside: Collection[str]

    @classmethod
    def of(cls, parts: Sequence[Part], levels: Levels) -> "Wiring":
        """Return the wiring of all parts of a model."""
        readers: dict[str, list[Part]] = {}
        for part in parts:
            for name in part.reads:
                readers.setdefault(name, []).append(part)
        outside = {*levels.outputs, *(name for names in levels.reads.values() for name in names)}
        return cls({part.output: part for part in parts}, readers, outside)

    def only_for(self, name: str, parts: Collection[Part]) -> bool:
        """Tell whether nobody but ``parts`` reads a value."""
        return name not in self.outside and all(part in parts for part in self.readers.get(name, ()))
