"""What the CPU can do: the features that kernels ask for, and its name for reports."""

import platform
from functools import cache

__all__ = ["cpu_features", "cpu_name"]


@cache
def _cpuinfo() -> dict[str, str]:
    """Return the first processor's entries of /proc/cpuinfo, empty where there is none."""
    entries: dict[str, str] = {}
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            for line in file:
                key, colon, value = line.partition(":")
                if colon:
                    entries.setdefault(key.strip(), value.strip())
    except OSError:
        return {}
    return entries


@cache
def cpu_features() -> frozenset[str]:
    """Return the features under their Linux names (``avx2``, ``asimd``, …); empty where the system does not tell."""
    entries = _cpuinfo()
    return frozenset((entries.get("flags") or entries.get("Features") or "").split())


@cache
def cpu_name() -> str:
    """Return the CPU's model name, or its architecture."""
    return _cpuinfo().get("model name") or platform.processor() or platform.machine()
