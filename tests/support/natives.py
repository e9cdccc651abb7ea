"""Graphs of float operators between binary layers, and what the runtime makes of them."""

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from latentbit.runtime.session import InferenceSession

from .graphs import GraphMaker

__all__ = ["STAGES", "answers", "append", "float_steps", "unit"]

STAGES = (
    *("Add", "Sub", "Mul", "Div", "PRelu", "Sub from", "Relu", "Clip", "Clip below", "HardSigmoid", "HardSwish"),
    *("LeakyRelu", "Add value", "Mul gate", "Mul itself", "Add itself twice"),
)


def unit(maker: GraphMaker, value: str, channels: int, outputs: int) -> str:
    """Put a binary 1×1 convolution behind a value."""
    return maker.conv(maker.binarize(value, channels), maker.signs(outputs, channels, 1, 1))


def append(maker: GraphMaker, stage: str, value: str, channels: int, beside: tuple[str, str], rank: int = 4) -> str:
    """Put a stage behind a value; ``beside`` are another value of its shape and a gate."""
    op, *rest = stage.split()
    if rest == ["value"]:
        return maker.node(op, [beside[0], value])
    if rest == ["gate"]:
        return maker.node(op, [beside[1], value])
    if rest[:1] == ["itself"]:  # as SiLU is written: the value before a stage meets the value behind it
        return maker.node(op, [value, value if rest[1:] else maker.node("HardSigmoid", [value])])
    if stage == "Clip":
        return maker.node("Clip", [value, *(maker.constant(np.float32(bound)) for bound in (-1.0, 1.5))])
    if stage == "Clip below":
        return maker.node("Clip", [value, "", maker.constant(np.float32(0.5))])
    if op in ("Add", "Sub", "Mul", "Div", "PRelu"):
        constant = maker.per_channel(channels, rank, low=0.1, high=2.0)
        return maker.node(op, [constant, value] if rest else [value, constant])
    attributes: dict[str, Any] = {"HardSigmoid": {"alpha": 1 / 6, "beta": 0.5}, "LeakyRelu": {"alpha": 0.1}}.get(op, {})
    return maker.node(op, [value], **attributes)


def answers(model: onnx.ModelProto, x: NDArray[np.float32], threads: int = 1) -> list[NDArray[Any]]:
    """Return what the runtime answers to ``x``, the one input."""
    return InferenceSession(model.SerializeToString(), num_threads=threads).run(None, {"input": x})


def float_steps(model: onnx.ModelProto) -> list[str]:
    """Return the operators that onnxruntime runs."""
    session = InferenceSession(model.SerializeToString())
    return [op for step in session.get_steps() if step.kernel == "onnxruntime" for op in step.ops]
