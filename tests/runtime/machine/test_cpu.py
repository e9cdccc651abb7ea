"""CPU features come from the CPU, not from what the system says of the machine outside."""

import platform

import pytest

from latentbit.runtime.machine import cpu
from latentbit.runtime.machine.cpu import cpu_features, cpu_name
from latentbit.runtime.machine.library import CLASSES, cpu_classes


def test_features_follow_what_numpy_found(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu_features.cache_clear()
    monkeypatch.setattr(cpu, "_numpy_features", lambda: {"AVX2": True, "POPCNT": True, "FMA3": False, "X86_V3": True})
    assert cpu_features() == {"avx2", "popcnt"}
    cpu_features.cache_clear()


def test_features_are_those_of_this_machine() -> None:
    found = cpu_features()
    assert ("asimd" in found) is (platform.machine() == "aarch64")
    x86 = frozenset[str]().union(*(features for machine, features in CLASSES.values() if machine == "x86_64"))
    assert found <= x86 | {"asimd", "asimddp"}


@pytest.mark.parametrize("told", [{}, {"BMI": False, "BMI2": True, "LZCNT": True, "MOVBE": True}])
def test_what_an_older_numpy_does_not_tell_comes_with_avx2(
    monkeypatch: pytest.MonkeyPatch, told: dict[str, bool]
) -> None:
    cpu_features.cache_clear()
    monkeypatch.setattr(cpu, "_numpy_features", lambda: {"AVX2": True, "FMA3": True} | told)
    assert ("bmi1" in cpu_features(), "bmi2" in cpu_features()) == (not told, True)
    cpu_features.cache_clear()


@pytest.mark.parametrize("missing", ["AVX512BW", "BMI2", "F16C", "SSE41"])
def test_a_cpu_without_one_feature_of_a_level_is_not_of_its_class(
    monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    """The compiler may use all of a level in a library, whatever the kernels ask for by name."""
    lacking = cpu._numpy_features() | {missing: False}
    monkeypatch.setattr(cpu, "_numpy_features", lambda: lacking)
    for cached in (cpu_features, cpu_classes):
        cached.cache_clear()
    level = {"AVX512BW": "x86-64-v4", "BMI2": "x86-64-v3", "F16C": "x86-64-v3", "SSE41": "x86-64-v2"}[missing]
    try:
        assert level not in cpu_classes()
    finally:
        monkeypatch.undo()
        for cached in (cpu_features, cpu_classes):
            cached.cache_clear()


def test_the_name_is_a_line() -> None:
    assert cpu_name()
    assert "\n" not in cpu_name()
