"""Which ARM cores this machine has: kernels differ in speed between cores that have the same instructions.

A core tells who made it and what it is in its register MIDR, which the system hands on in files. There is nothing to
read on another CPU, in a container that hides these files, or under an emulator that does not know them.
"""

from collections.abc import Iterable
from functools import cache
from pathlib import Path

__all__ = ["cpu_cores", "read_cores"]

_ARM = 0x41
_CORES = {
    (_ARM, 0xD03): "cortex-a53",
    (_ARM, 0xD04): "cortex-a35",
    (_ARM, 0xD05): "cortex-a55",
    (_ARM, 0xD07): "cortex-a57",
    (_ARM, 0xD08): "cortex-a72",
    (_ARM, 0xD09): "cortex-a73",
    (_ARM, 0xD0A): "cortex-a75",
    (_ARM, 0xD0B): "cortex-a76",
    (_ARM, 0xD0C): "neoverse-n1",
    (_ARM, 0xD0D): "cortex-a77",
    (_ARM, 0xD40): "neoverse-v1",
    (_ARM, 0xD41): "cortex-a78",
    (_ARM, 0xD44): "cortex-x1",
    (_ARM, 0xD46): "cortex-a510",
    (_ARM, 0xD49): "neoverse-n2",
}
"""Implementer and part number -> name, as LLVM writes it."""


@cache
def cpu_cores() -> frozenset[str]:
    """Return the kinds of ARM core here: ``cortex-a72`` and the like, ``arm-0x41-0xd4b`` where we know no name."""
    return read_cores(Path("/sys/devices/system/cpu"), Path("/proc/cpuinfo"))


def read_cores(folder: Path, listing: Path) -> frozenset[str]:
    """Return the kinds of core by the register of each CPU in ``folder``, or else by the system's ``listing``."""
    parts = {(register >> 24 & 0xFF, register >> 4 & 0xFFF) for register in _registers(folder)} or _listed(listing)
    return frozenset(_CORES.get(part, f"arm-{part[0]:#x}-{part[1]:#x}") for part in parts)


def _registers(folder: Path) -> Iterable[int]:
    for path in folder.glob("cpu[0-9]*/regs/identification/midr_el1"):
        number = _number(_text(path))
        if number is not None:
            yield number


def _listed(listing: Path) -> set[tuple[int, int]]:
    """Return implementer and part of each CPU in a text of lines ``CPU implementer : 0x41``, ``CPU part : 0xd08``."""
    parts, implementer = set(), None
    for line in _text(listing).splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "CPU implementer":
            implementer = _number(value)
        elif key.strip() == "CPU part" and implementer is not None and (part := _number(value)) is not None:
            parts.add((implementer, part))
    return parts


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""  # hidden from us, or not Linux: the kernels are chosen without it


def _number(text: str) -> int | None:
    try:
        return int(text.strip(), 0)
    except ValueError:
        return None
