"""How much a model or a bundle may cost: limits that hold unless the environment says otherwise.

A small file can ask for an image of terabytes or for a million threads. What passes a limit is refused with one line
before it is made. ``LATENTBIT_LIMITS`` changes limits by name, for example
``LATENTBIT_LIMITS=memory_bytes=17179869184,nodes=200000``.
"""

import os
from dataclasses import dataclass, fields, replace
from functools import cache
from time import monotonic

from ..errors import ConfigError, ModelError

__all__ = ["Deadline", "Limits", "current_limits"]

_VARIABLE = "LATENTBIT_LIMITS"


@dataclass(frozen=True)
class Limits:
    """What a model or a bundle may ask for, each at most.

    ============= ============================================================================================
    file_bytes    bytes of a model file
    nodes         nodes of its graph, those of inner graphs and functions counted with it
    geometry      each stride, dilation and pad of a layer of ours
    memory_bytes  bytes that a session keeps for one set of input shapes, and of any value whose size the file states
    build_seconds seconds that opening a session takes; looked at between its steps, none of which is broken off
    threads       ``num_threads`` of a session
    archive_bytes bytes that the zip file of a bundle unpacks to, and that its reference does
    archive_files files in each of these
    archive_ratio how many times as large as packed, where it is more than 64 MiB
    ============= ============================================================================================
    """

    file_bytes: int = 2**31 - 1
    nodes: int = 50_000
    geometry: int = 65_535
    memory_bytes: int = 4 * 2**30
    build_seconds: int = 300
    threads: int = 256
    archive_bytes: int = 4 * 2**30
    archive_files: int = 4096
    archive_ratio: int = 200


class Deadline:
    """The time by which a session must be open; made when its opening begins."""

    def __init__(self) -> None:
        self._seconds = current_limits().build_seconds
        self._end = monotonic() + self._seconds

    def check(self, done: str) -> None:
        """Raise ModelError where the time is over. ``done``: the step of opening that was just done."""
        if monotonic() > self._end:
            raise ModelError(
                f"opening the model takes longer than the limit build_seconds of {self._seconds} ({done}); "
                "raise it in LATENTBIT_LIMITS if you trust the file"
            )


def current_limits() -> Limits:
    """Return the limits, those of ``LATENTBIT_LIMITS`` instead of the defaults.

    Raises ConfigError for a name that is no limit, and for anything but a positive integer.
    """
    return _limits(os.environ.get(_VARIABLE, ""))


@cache
def _limits(text: str) -> Limits:
    changed = {}
    names = [field.name for field in fields(Limits)]
    for entry in filter(None, text.split(",")):
        name, _, value = (part.strip() for part in entry.partition("="))
        if name not in names or not (value.isascii() and value.isdigit() and int(value)):
            raise ConfigError(f"{_VARIABLE}: {entry!r} is no limit; write NAME=POSITIVE INTEGER of {', '.join(names)}")
        changed[name] = int(value)
    return replace(Limits(), **changed)
