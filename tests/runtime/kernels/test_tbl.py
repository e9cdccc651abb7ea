"""The look-up kernel for NEON on any machine: the integers of its portable form, and when it is chosen."""

import importlib
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latentbit.runtime.errors import ModelError
from latentbit.runtime.kernels import registry
from latentbit.runtime.machine import cores, jit
from latentbit.runtime.machine.objects import DOT, LOOK_UP, kernel_ir, link
from latentbit.runtime.session.session import InferenceSession
from latentbit.runtime.steps import choice

from ...support.convolutions import Case
from ...support.graphs import GraphMaker
from .test_operators import cases


@pytest.fixture(scope="module", autouse=True)
def neon() -> Iterator[None]:
    """Let kernels ask for NEON and for nothing else: what is no instruction here runs in its portable form."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (registry, choice):
            patch.setattr(module, "usable_features", lambda: frozenset({"asimd"}))
        patch.setattr(choice, "speed_ratio", lambda first, other: 1.2)
        yield


@given(case=cases(), seed=st.integers(0, 2**31))
@settings(max_examples=60, deadline=None)
def test_convolution(case: Case, seed: int) -> None:
    layer = case.layer(seed)
    session = InferenceSession(layer.model.SerializeToString(), kernel="tbl")
    assert session.get_steps()[1].kernel == "tbl"
    layer.check(session.run(None, layer.feeds))


def small() -> bytes:
    """Return a file with a convolution and, behind it, a dense layer."""
    maker = GraphMaker()
    value = maker.conv(maker.binarize("input", 64), maker.signs(64, 64, 3, 3))
    value = maker.node("Flatten", [value])
    value = maker.dense(maker.binarize(value, 64, rank=2), maker.signs(10, 64))
    return maker.model({"input": [1, 64, 3, 3]}, [value]).SerializeToString()


def chosen(kernel: str | None = None) -> list[tuple[str, str]]:
    steps = InferenceSession(small(), kernel=kernel).get_steps()
    return [(step.kernel, step.reason) for step in steps if step.kind == "binary"]


@pytest.mark.parametrize(
    ("ratio", "kernel", "reason"),
    [
        (1.25, "tbl", "the CPU has no avx2; ctp takes 1.25 times as long on this machine"),
        (0.98, "tbl", "the CPU has no avx2; ctp takes 0.98 times as long on this machine"),
        (0.8, "ctp", "not tbl: ctp takes 0.80 times as long on this machine"),
    ],
)
def test_the_trial_decides(monkeypatch: pytest.MonkeyPatch, ratio: float, kernel: str, reason: str) -> None:
    asked: list[tuple[str, str]] = []

    def answer(first: registry.Kernel, other: registry.Kernel) -> float:
        asked.append((first.name, other.name))
        return ratio

    monkeypatch.setattr(choice, "speed_ratio", answer)
    (convolution, why), (dense, because) = chosen()
    assert (convolution, dense) == (kernel, "ctp")
    assert why.endswith(reason)
    assert "not tbl: a dense layer has no neighbouring pixels" in because
    assert asked == [("tbl", "ctp")], "a layer that tbl does not take asks for no trial"
    assert chosen("tbl")[0] == ("tbl", "as asked"), "whoever asks for it gets it on every core"
    assert len(asked) == 1


def test_the_environment_prefers_a_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LATENTBIT_PREFER", "ctp")
    assert chosen()[0] == ("ctp", "as asked")
    assert chosen("tbl")[0] == ("tbl", "as asked"), "the caller's word goes before the environment's"
    monkeypatch.setenv("LATENTBIT_PREFER", "")
    assert chosen()[0][0] == "tbl"
    monkeypatch.setenv("LATENTBIT_PREFER", "fast")
    with pytest.raises(ModelError, match="there is no kernel fast; there are "):
        chosen()


def test_the_names_of_cores_are_those_that_are_read() -> None:
    assert {name for pair in jit._RELATED.items() for name in pair} <= set(cores._CORES.values())


@pytest.mark.parametrize(
    ("module", "symbols", "name", "instructions"),
    [
        ("tbl", {"conv_tbl", "offset_image"}, LOOK_UP, {"tbl": 24, "usra": 8}),
        ("stem_dots", {"sums_dots"}, DOT, {"sdot": 48}),
        ("stem_singles", {"sums_singles"}, None, {"smlal": 40, "smlal2": 40}),
    ],
)
def test_on_arm_it_is_one_instruction(
    module: str, symbols: set[str], name: str | None, instructions: dict[str, int]
) -> None:
    """Neither the portable form nor a call of it is left in what LLVM makes for AArch64 of the same IR."""
    llvm = importlib.import_module("llvmlite.binding")
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    target = llvm.Target.from_triple("aarch64-unknown-linux-gnu")
    machine = target.create_target_machine(cpu="neoverse-n1", opt=3, reloc="pic", codemodel="default")
    kernels = kernel_ir(importlib.import_module(f"latentbit.runtime.kernels.{module}"))
    assert set(kernels) == symbols
    assembly = machine.emit_assembly(link(kernels, machine, 0, {}))
    if name is not None:
        assert name in "".join(kernels.values())
        assert name not in assembly
    for instruction, count in instructions.items():
        assert assembly.count(f"\t{instruction}\t") >= count
