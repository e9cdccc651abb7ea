"""What the CPU can do: the features that kernels ask for, and its name for reports."""

import platform
from functools import cache
from importlib import import_module

import numpy as np

__all__ = ["cpu_features", "cpu_name"]

_NAMES = {
    "AVX": "avx",
    "AVX2": "avx2",
    "AVX512BW": "avx512bw",
    "AVX512CD": "avx512cd",
    "AVX512DQ": "avx512dq",
    "AVX512F": "avx512f",
    "AVX512VBMI": "avx512vbmi",
    "AVX512VL": "avx512vl",
    "AVX512VNNI": "avx512_vnni",
    "AVX512VPOPCNTDQ": "avx512_vpopcntdq",
    "BMI": "bmi1",
    "BMI2": "bmi2",
    "F16C": "f16c",
    "FMA3": "fma",
    "LZCNT": "abm",
    "MOVBE": "movbe",
    "POPCNT": "popcnt",
    "SSE41": "sse4_1",
    "SSE42": "sse4_2",
    "SSSE3": "ssse3",
    "ASIMD": "asimd",
    "ASIMDDP": "asimddp",
}
"""numpy's names of features -> Linux's. All that a class of CPU asks for is among them (:mod:`.library`)."""

_UNTOLD = {"BMI", "BMI2", "LZCNT", "MOVBE"}
"""What numpy before 2.4 does not tell: no CPU has AVX2 and FMA without these."""


@cache
def cpu_features() -> frozenset[str]:
    """Return the features under their Linux names (``avx2``, ``asimd``, …), as far as kernels and libraries need them.

    They come from numpy, which asks the CPU and the system (cpuid, xgetbv, getauxval). /proc/cpuinfo would be wrong
    under emulation: there it describes the machine outside, and a kernel chosen by it meets an illegal instruction.
    """
    found = _numpy_features()
    wide = bool(found.get("AVX2") and found.get("FMA3"))
    found = {name: wide for name in _UNTOLD} | found
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
