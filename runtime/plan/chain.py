"""A chain: elementwise operators on images and rows between packed layers, as far as no unit has taken them along.

::

    value ─ [Sub c] ─ [PRelu c] ─ [Mul gate] ─ [HardSwish] ─ … ─► value                 c: one number per channel

Each stage is the float32 arithmetic of its operator, so the result has the bits that the file's steps give. Sigmoid and
Erf alone are functions of ours, within four units of the last place (kernels/chain.py).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
import onnx
from numpy.typing import NDArray

from ..intake.model import Model
from ..layout.float_words import ChainOp
from ..operators import STANDARD_DOMAINS, channel_vector
from .graph import same_shape, stated_attributes

__all__ = ["FUSED_BY_ENGINE", "STAGES", "Chain", "Stage", "match_stage"]

Alike = Callable[[str, str], bool]

FUSED_BY_ENGINE = frozenset({"Clip", "HardSigmoid", "LeakyRelu", "Relu", "Sigmoid"})
"""Operators that onnxruntime does in passing behind a convolution or a matrix product of its own."""


@dataclass(frozen=True, eq=False)
class Stage:
    """What one node makes of ``source``: an operation with ``first`` and ``second``, float32 ``[C]`` each or None.

    Instead of ``first`` it may read ``other``, a value of the same shape or, with ``gate``, one of ``[N, C, 1, 1]``.
    """

    op: ChainOp
    source: str
    first: NDArray[np.float32] | None = None
    second: NDArray[np.float32] | None = None
    other: str | None = None
    gate: bool = False

    @property
    def reads(self) -> tuple[str, ...]:
        """The source, and the other value if there is one."""
        return (self.source,) if self.other is None else (self.source, self.other)

    def may_read(self, name: str) -> bool:
        """Tell whether ``name`` is its source, or can change places with it, and is not read twice."""
        if self.source == self.other:
            return False
        swaps = self.op in (ChainOp.ADD, ChainOp.MULTIPLY) and not self.gate
        return name == self.source or (name == self.other and swaps)

    def reading(self, name: str) -> "Stage":
        """Return the stage with ``name`` as its source; both sums and products round alike in either order."""
        return self if name == self.source else replace(self, source=name, other=self.source)


@dataclass(frozen=True, eq=False)
class Chain:
    """``stages`` one after another; the source of each is the output of the one before it."""

    kind: ClassVar[str] = "float"

    name: str
    output: str
    rank: int
    channels: int
    stages: tuple[Stage, ...]
    nodes: tuple[int, ...]
    ops: tuple[str, ...]

    @property
    def source(self) -> str:
        """What the first stage reads."""
        return self.stages[0].source

    @property
    def reads(self) -> tuple[str, ...]:
        """The source, and every other value of a stage."""
        return (self.source, *(stage.other for stage in self.stages if stage.other is not None))


def match_stage(
    model: Model, node: onnx.NodeProto, channels: int, rank: int = 4, alike: Alike | None = None
) -> Stage | None:
    """Return what a node does with a float32 value of this rank with these channels, None for what is no stage.

    The rank is that of a layout (plan/layouts.py). ``alike`` tells whether two values provably have one shape; without
    it their types do.
    """
    if node.domain not in STANDARD_DOMAINS or len(node.output) != 1 or not node.input:
        return None
    match = _MATCH.get(node.op_type)
    given = stated_attributes(node)
    if given is None:
        return None
    if node.op_type in _OF_TWO:
        return _of_two(model, node, (rank, channels), alike or partial(same_shape, model))
    return None if match is None else match(model, node, (rank, channels), given)


def _of_two(model: Model, node: onnx.NodeProto, size: tuple[int, int], alike: Alike) -> Stage | None:
    """Match an operator of two operands: a value and a constant, two values of one shape, or a value and a gate."""
    if len(node.input) != 2:
        return None
    source, other = (str(name) for name in node.input)
    op = _OF_TWO[node.op_type]
    if source in model.constants or (size[0] == 4 and _is_gate(model, source, other)):
        if op in (ChainOp.DIVIDE, ChainOp.PRELU):
            return None
        source, other = other, source
        op = ChainOp.SUBTRACT_FROM if op is ChainOp.SUBTRACT else op
    if other in model.constants:
        constant = _per_channel(model.constants[other], *size)
        return None if constant is None or source in model.constants else Stage(op, source, constant)
    if op is ChainOp.PRELU:
        return None
    gate = size[0] == 4 and _is_gate(model, other, source)
    return Stage(op, source, other=other, gate=gate) if gate or alike(source, other) else None


def _per_channel(array: NDArray[Any], rank: int, channels: int) -> NDArray[np.float32] | None:
    """Return a constant as float32 ``[channels]``, None where it is anything but one number per channel.

    Beside tokens, whose last axis has the channels, it may have as many axes of size 1 before that.
    """
    if rank == 3 and array.ndim > 1 and set(array.shape[:-1]) == {1}:
        array = array.reshape(array.shape[-1])
    return channel_vector(array, 2 if rank == 3 else rank, channels)


def _is_gate(model: Model, name: str, value: str) -> bool:
    """Tell whether ``name`` is one number per image and channel of a ``value`` of more pixels than one."""
    one, two = model.types.get(name), model.types.get(value)
    if one is None or two is None or one.shape is None or two.shape is None or one.elem != two.elem:
        return False
    gate, shape = one.shape, two.shape
    return (
        len(gate) == len(shape) == 4
        and None not in (*gate, *shape)
        and gate[:2] == shape[:2]
        and gate[2:] == (1, 1) != shape[2:]
    )


def _numbers(op: ChainOp, node: onnx.NodeProto, size: tuple[int, int], *values: float) -> Stage:
    first, second = (*(np.full(size[1], value, np.float32) for value in values), None, None)[:2]
    return Stage(op, str(node.input[0]), first, second)


def _clip(model: Model, node: onnx.NodeProto, size: tuple[int, int], given: Mapping[str, Any]) -> Stage | None:
    bounds, largest = [], float(np.finfo(np.float32).max)
    for place, missing in enumerate((-largest, largest), start=1):  # as ONNX has it: an infinity does not pass
        name = str(node.input[place]) if len(node.input) > place else ""
        constant = model.constants.get(name)
        if name and (constant is None or constant.size != 1 or constant.dtype != np.float32):
            return None
        bounds.append(missing if constant is None else float(constant.reshape(-1)[0]))
    return None if given else _numbers(ChainOp.CLIP, node, size, *bounds)


_OF_TWO = MappingProxyType(
    {
        "Add": ChainOp.ADD,
        "Sub": ChainOp.SUBTRACT,
        "Mul": ChainOp.MULTIPLY,
        "Div": ChainOp.DIVIDE,
        "PRelu": ChainOp.PRELU,
    }
)
_Match = Callable[[Model, onnx.NodeProto, tuple[int, int], Mapping[str, Any]], Stage | None]
_MATCH: Mapping[str, _Match] = MappingProxyType(
    {
        "Clip": _clip,
        "Erf": lambda model, node, size, given: _numbers(ChainOp.ERF, node, size),
        "HardSigmoid": lambda model, node, size, given: _numbers(
            ChainOp.HARD_SIGMOID, node, size, given.get("alpha", 0.2), given.get("beta", 0.5)
        ),
        "HardSwish": lambda model, node, size, given: _numbers(ChainOp.HARD_SWISH, node, size, 1 / 6, 0.5),
        "LeakyRelu": lambda model, node, size, given: _numbers(ChainOp.PRELU, node, size, given.get("alpha", 0.01)),
        "Relu": lambda model, node, size, given: _numbers(ChainOp.CLIP, node, size, 0.0, np.inf),
        "Sigmoid": lambda model, node, size, given: _numbers(ChainOp.SIGMOID, node, size),
    }
)

STAGES = frozenset((*_OF_TWO, *_MATCH))
"""The operators that may be stages."""
