"""On what a figure was measured: versions, CPU, memory."""

import importlib.metadata
import os
import platform
import resource
import sys

from ... import __version__
from .cores import cpu_cores
from .cpu import cpu_features, cpu_name

__all__ = ["environment", "peak_memory_bytes"]

_PACKAGES = ("numpy", "onnx", "onnxruntime", "numba", "llvmlite")


def environment() -> dict[str, object]:
    """Return versions, CPU name, its features that matter here, its kinds of ARM core, the number of usable CPUs."""
    versions = {"latentbit": __version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue  # a device with a prebuilt library has no numba
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "versions": versions,
        "cpu": cpu_name(),
        "machine": platform.machine(),
        "features": sorted(cpu_features()),
        "cores": sorted(cpu_cores()),
        "cpus": usable,
        "system": platform.platform(),
    }


def peak_memory_bytes() -> int:
    """Return the largest resident size of this process so far."""
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))
    except (OSError, StopIteration):  # not Linux; what it tells instead starts at the size of the parent process
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
