"""The look-up kernel for NEON on any machine: the integers of its portable form, and on which cores it is chosen."""

import importlib
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latentbit.runtime.errors import ModelError
from latentbit.runtime.kernels import registry
from latentbit.runtime.kernels.fits import SLOW_LOOK_UPS
from latentbit.runtime.machine import cores, jit
from latentbit.runtime.machine.objects import LOOK_UP, kernel_ir, link
from latentbit.runtime.session.session import InferenceSession

from ...support.convolutions import Case
from ...support.graphs import GraphMaker
from .test_operators import cases


@pytest.fixture(scope="module", autouse=True)
def neon() -> Iterator[None]:
    """Let kernels ask for NEON and for nothing else: what is no instruction here runs in its portable form."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "usable_features", lambda: frozenset({"asimd"}))
        patch.setattr(registry, "cpu_cores", frozenset)
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
    ("here", "kernel", "reason"),
    [
        ([], "tbl", "the CPU has no avx2"),
        (["cortex-a53"], "tbl", "the CPU has no avx2"),
        (["cortex-a55", "cortex-a76"], "tbl", "the CPU has no avx2"),
        (["cortex-a72"], "ctp", "not tbl: it is slow on cortex-a72"),
        (["cortex-a53", "cortex-a72"], "ctp", "not tbl: it is slow on cortex-a72"),
    ],
)
def test_which_cores_look_up(monkeypatch: pytest.MonkeyPatch, here: list[str], kernel: str, reason: str) -> None:
    monkeypatch.setattr(registry, "cpu_cores", lambda: frozenset(here))
    (convolution, why), (dense, _) = chosen()
    assert (convolution, dense) == (kernel, "ctp")
    assert reason in why
    assert chosen("tbl")[0] == ("tbl", "as asked"), "whoever asks for it gets it on every core"


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
    assert set(cores._CORES.values()) >= SLOW_LOOK_UPS
    assert {name for pair in jit._RELATED.items() for name in pair} <= set(cores._CORES.values())


def test_on_arm_it_is_one_instruction() -> None:
    """Neither the portable form nor a call of it is left in what LLVM makes for AArch64 of the same IR."""
    llvm = importlib.import_module("llvmlite.binding")
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    target = llvm.Target.from_triple("aarch64-unknown-linux-gnu")
    machine = target.create_target_machine(cpu="neoverse-n1", opt=3, reloc="pic", codemodel="default")
    kernels = kernel_ir(importlib.import_module("latentbit.runtime.kernels.tbl"))
    assert set(kernels) == {"conv_tbl", "offset_image"}
    assert LOOK_UP in kernels["conv_tbl"]
    assembly = machine.emit_assembly(link(kernels, machine, 0, {}))
    assert LOOK_UP not in assembly
    assert assembly.count("\ttbl\t") >= 24
    assert assembly.count("\tusra\t") >= 8
