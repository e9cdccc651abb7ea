"""How much a model or a bundle may cost: limits that hold unless the environment says otherwise.

A small file can ask for an image of terabytes or for a million threads. What passes a limit is refused with one line
before it is made. ``LATENTBIT_LIMITS`` changes limits by name, for example
``LATENTBIT_LIMITS=memory_bytes=17179869184,nodes=200000``.
"""

import os
from dataclasses import dataclass, fields, replace
from functools import cache

from ..errors import ConfigError

__all__ = ["Limits", "current_limits"]

_VARIABLE = "LATENTBIT_LIMITS"


@dataclass(frozen=True)
class Limits:
    """What a model or a bundle may ask for, each at most.

    ============= ============================================================================================
    file_bytes    bytes of a model file
    nodes         nodes of its graph, those of inner graphs and functions counted with it
    geometry      each stride, dilation and pad of a layer of ours
    memory_bytes  bytes that a session keeps for one set of input shapes, and of any value whose size the file states
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
    threads: int = 256
    archive_bytes: int = 4 * 2**30
    archive_files: int = 4096
    archive_ratio: int = 200


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
