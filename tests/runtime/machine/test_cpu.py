"""CPU features come from the CPU, not from what the system says of the machine outside."""

import platform

import pytest

from latentbit.runtime.machine import cpu
from latentbit.runtime.machine.cpu import cpu_features, cpu_name


def test_features_follow_what_numpy_found(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu_features.cache_clear()
    monkeypatch.setattr(cpu, "_numpy_features", lambda: {"AVX2": True, "POPCNT": True, "FMA3": False, "X86_V3": True})
    assert cpu_features() == {"avx2", "popcnt"}
    cpu_features.cache_clear()


def test_features_are_those_of_this_machine() -> None:
    found = cpu_features()
    assert ("asimd" in found) is (platform.machine() == "aarch64")
    x86 = {"avx2", "avx512f", "avx512_vnni", "avx512_vpopcntdq", "fma", "popcnt", "ssse3"}
    assert found <= x86 | {"asimd", "asimddp"}


def test_the_name_is_a_line() -> None:
    assert cpu_name()
    assert "\n" not in cpu_name()
