"""What the CPU can do: the features that kernels ask for, and its name for reports."""

import platform
from functools import cache
from importlib import import_module

import numpy as np

__all__ = ["cpu_features", "cpu_name"]

_NAMES = {
    "AVX2": "avx2",
    "AVX512F": "avx512f",
    "AVX512VNNI": "avx512_vnni",
    "AVX512VPOPCNTDQ": "avx512_vpopcntdq",
    "FMA3": "fma",
    "POPCNT": "popcnt",
    "SSSE3": "ssse3",
    "ASIMD": "asimd",
    "ASIMDDP": "asimddp",
}


@cache
def cpu_features() -> frozenset[str]:
    """Return the features under their Linux names (``avx2``, ``asimd``, …), as far as kernels ask for them.

    They come from numpy, which asks the CPU and the system (cpuid, xgetbv, getauxval). /proc/cpuinfo would be wrong
    under emulation: there it describes the machine outside, and a kernel chosen by it meets an illegal instruction.
    """
    found = _numpy_features()
    return frozenset(linux for name, linux in _NAMES.items() if found.get(name))


def _numpy_features() -> dict[str, bool]:
    core = "numpy._core" if hasattr(np, "_core") else "numpy.core"  # numpy 2, numpy 1
    features: dict[str, bool] = import_module(f"{core}._multiarray_umath").__cpu_features__
    return features


@cache
def cpu_name() -> str:
    """Return the CPU's model name, or its architecture."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            for line in file:
                key, _, value = line.partition(":")
                if key.strip() == "model name":
                    return value.strip()
    except OSError:
        pass  # not Linux, or hidden from us: the architecture has to do
    return platform.processor() or platform.machine()
