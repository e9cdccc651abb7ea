"""What the sessions of one file have in common: the model, the plan, the weights as kernels read them.

::

    bytes of the file ─► model ─► plan, weights as kernels read them ─► float segments in onnxruntime
                         for every session on these bytes               for every session of one thread

None of it changes once it is made. So a second session in this process takes what the first has, as long as one of
them is open: it is found by the sha256 of the bytes and by all else that it was made from, and goes with the last
session. Two threads that open a file at the same moment may each make it; both then work.
"""

import hashlib
import os
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from os import PathLike
from typing import Any, TypeVar
from weakref import WeakSet, WeakValueDictionary

from ..intake.limits import Deadline, current_limits
from ..intake.model import Model
from ..intake.reading import load
from ..intake.source import read_bytes
from ..machine.library import usable_features
from ..plan.parts import Planned
from ..plan.plan import Plan, make_plan
from ..plan.segments import FloatSegment
from ..steps.choice import KernelChoice, choose_kernels
from ..steps.prepare import Prepared, prepare
from .context import Context
from .float_model import make_session

__all__ = ["Floats", "Opened", "open_model", "own_floats"]

Kind = TypeVar("Kind")

_kept: WeakValueDictionary[Hashable, Any] = WeakValueDictionary()
"""What open sessions hold, by what it was made from."""


@dataclass(frozen=True, eq=False)
class Opened:
    """A plan, and its parts with their weights laid out."""

    plan: Plan
    prepared: Mapping[Planned[Any], Prepared]


@dataclass(frozen=True, eq=False)
class Floats:
    """The float segments: onnxruntime's sessions by place in the plan, and every context that runs them."""

    sessions: Mapping[int, Any]
    contexts: "WeakSet[Context]" = field(default_factory=WeakSet)


def open_model(source: str | PathLike[str] | bytes, kernel: str | None, num_threads: int) -> tuple[Opened, Floats]:
    """Return a model file, ready to be bound to inputs; what open sessions have of it already is not made again.

    Raises as :class:`.session.InferenceSession`.
    """
    deadline = Deadline()
    model, key = _read(source)
    deadline.check("it is read")
    choice = choose_kernels(model, kernel)  # other kernels, another plan
    key = (*key, usable_features(), *choice.layers.items())
    opened = _shared(("opened", *key), lambda: _opened(model, choice, deadline))
    # Threads of onnxruntime serve one session alone: two would wait for each other's.
    if num_threads > 1:
        return opened, _floats(opened.plan, num_threads, deadline)
    return opened, _shared(("floats", *key), lambda: _floats(opened.plan, 1, deadline))


def _read(source: str | PathLike[str] | bytes) -> tuple[Model, tuple[Hashable, ...]]:
    """Return the model, and what tells it from others: its bytes, and the limits under which it is not refused."""
    data = read_bytes(source)
    key = hashlib.sha256(data).digest(), current_limits()
    return _shared(("model", *key), lambda: load(source, data)), key


def own_floats(opened: Opened) -> Floats:
    """Return the float segments for a session of one thread that cannot go on with those that it shares."""
    return _floats(opened.plan, 1, Deadline())


def _opened(model: Model, choice: KernelChoice, deadline: Deadline) -> Opened:
    plan = make_plan(model, choice)
    deadline.check("the plan is made")
    return Opened(plan, prepare(plan))


def _floats(plan: Plan, num_threads: int, deadline: Deadline) -> Floats:
    sessions = {}
    for place, segment in enumerate(plan.segments):
        if isinstance(segment, FloatSegment):
            deadline.check(f"{place} of {len(plan.segments)} segments are ready")
            sessions[place] = make_session(plan.model, segment, num_threads)
    return Floats(sessions)


def _forget() -> None:
    """Let a forked process make its own: onnxruntime may be in the middle of a run that only its parent ends."""
    global _kept
    _kept = WeakValueDictionary()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def _shared(key: Hashable, make: Callable[[], Kind]) -> Kind:
    found: Kind | None = _kept.get(key)
    return _kept.setdefault(key, make()) if found is None else found
