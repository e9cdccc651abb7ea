"""A plan is made once: from kernels chosen before it, and nothing changes it afterwards."""

from dataclasses import FrozenInstanceError, fields, is_dataclass
from typing import Any

import numpy as np
import pytest

from latentbit.runtime.errors import ModelError
from latentbit.runtime.intake.reading import load
from latentbit.runtime.plan import BinarySegment, Plan, Planned, make_plan
from latentbit.runtime.session import InferenceSession
from latentbit.runtime.steps import KernelChoice, choose_kernels

from ...support.graphs import USABLE, GraphMaker, chain


def plan_of(data: bytes, kernel: str | None = None) -> Plan:
    model = load(data)
    return make_plan(model, choose_kernels(model, kernel))


def reached(value: Any, seen: dict[int, Any]) -> dict[int, Any]:
    """Return everything that a plan holds, the model left out."""
    if id(value) in seen or isinstance(value, str | int | float | np.ndarray | None):
        return seen
    seen[id(value)] = value
    if isinstance(value, tuple):
        for entry in value:
            reached(entry, seen)
    elif is_dataclass(value):
        for field in fields(value):
            if field.name not in ("model", "kernel", "layer"):
                reached(getattr(value, field.name), seen)
    return seen


def test_everything_in_a_plan_is_frozen() -> None:
    maker = GraphMaker()
    value = maker.conv(maker.binarize("input", 8), maker.signs(8, 8, 1, 1))
    value = maker.conv(maker.binarize(value, 8), maker.signs(8, 8, 1, 1))
    model = maker.model({"input": ["N", 8, 4, 4]}, [value])
    parts = reached(plan_of(model.SerializeToString()), {}).values()
    assert {"Plan", "FloatSegment", "BinarySegment", "Planned", "Unit", "Window"} & {
        type(part).__name__ for part in parts
    }
    assert not [part for part in parts if isinstance(part, list | dict | set)]
    for part in parts:
        if is_dataclass(part):
            with pytest.raises(FrozenInstanceError):
                setattr(part, fields(part)[0].name, None)


@pytest.mark.parametrize("kernel", USABLE)
def test_a_session_leaves_the_plan_as_it_was(kernel: str) -> None:
    """What the plan says of an output is what the kernels do: :meth:`KernelChoice.bits_fit` is asked before."""
    model = chain(channels=12)
    session = InferenceSession(model.SerializeToString(), kernel=kernel)
    told = session.get_steps()
    session.run(None, {"input": GraphMaker().floats(1, 12, 8, 8)})
    assert session.get_steps() == told
    planned = plan_of(model.SerializeToString(), kernel).parts
    assert [step.kernel for step in told if step.kind == "binary"] == [
        part.kernel.name for part in planned if part.part.kind == "binary"
    ]


class NoBits(KernelChoice):
    """Kernels none of which can write what another reads."""

    def bits_fit(self, maker: Any, reader: Any) -> bool:
        return False


def test_bits_pass_on_only_where_the_choice_says_that_they_fit() -> None:
    model = load(chain().SerializeToString())
    choice = choose_kernels(model)
    assert any(part.bits_for is not None for part in make_plan(model, choice).parts)
    parts = make_plan(model, NoBits(choice.layers)).parts
    assert all(part.bits_for is None and part.stored for part in parts)


def test_each_reader_of_bits_runs_after_its_maker() -> None:
    for segment in plan_of(chain().SerializeToString()).segments:
        if isinstance(segment, BinarySegment):
            order: list[Planned[Any]] = list(segment.parts)
            for maker in order:
                if maker.bits_for is not None and not maker.bits_kept:
                    assert order.index(maker) < order.index(maker.bits_for)


def test_a_kernel_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ModelError, match="there is no kernel fastest"):
        plan_of(chain().SerializeToString(), "fastest")
