"""What the plan decided, in words: one line a step."""

from collections.abc import Mapping
from dataclasses import dataclass

import onnx

from ..bits import DOMAIN
from ..plan.segments import FloatSegment, Plan
from ..plan.shortcut import Projection
from ..plan.stem import Stem
from ..plan.units import Unit
from ..steps.conv import PreparedUnit
from ..steps.stem import choose_sums

__all__ = ["StepInfo", "describe", "float_names"]

_STEM, _SHORTCUT = "int8 weights over pixels", "a shortcut between binary layers"


@dataclass(frozen=True)
class StepInfo:
    """A step of a session.

    ``kind`` is ``binary`` (packed, by ``kernel``), ``integer`` (the exact stem) or ``float`` (onnxruntime); ``ops`` are
    the operators in it in order;
    ``reason`` says why this kernel, or why a binary operator runs float (empty for what is float by nature).
    """

    name: str
    kind: str
    ops: tuple[str, ...]
    kernel: str
    reason: str


def describe(plan: Plan, prepared: Mapping[Unit, PreparedUnit]) -> list[StepInfo]:
    """Return the steps of a plan in order of execution."""
    nodes = plan.model.proto.graph.node
    steps = []
    names = float_names(plan)
    for segment in plan.segments:
        if isinstance(segment, FloatSegment):
            ops = tuple(nodes[index].op_type for index in segment.nodes)
            reasons = [
                f"{_label(nodes[index])}: {plan.reasons.get(index) or _why_binarize(plan, index)}"
                for index in segment.nodes
                if nodes[index].domain == DOMAIN
            ]
            steps.append(
                StepInfo(names[id(segment)], "float", ops or ("Transpose",), "onnxruntime", "; ".join(reasons))
            )
            continue
        for unit in segment.units:
            if isinstance(unit, Stem):
                fused = ["Binarize"] if unit.bits_for is not None else []
                steps.append(StepInfo(unit.name, "integer", (*unit.ops, *fused), choose_sums(unit).name, _STEM))
                continue
            if isinstance(unit, Projection):
                steps.append(
                    StepInfo(unit.name, "float", tuple(unit.ops), "project", "a shortcut between binary layers")
                )
                continue
            ready = prepared[unit]
            reason = ready.reason + ("; integer thresholds" if ready.thresholds is not None else "")
            steps.append(StepInfo(unit.layer.name, "binary", tuple(_ops(unit)), ready.kernel.name, reason))
    return steps


def float_names(plan: Plan) -> dict[int, str]:
    """Return by ``id`` of a float segment its name: its last node, which all else in it leads to."""
    nodes = plan.model.proto.graph.node
    return {
        id(segment): _label(nodes[segment.nodes[-1]]) if segment.nodes else "layout"
        for segment in plan.segments
        if isinstance(segment, FloatSegment)
    }


def _label(node: onnx.NodeProto) -> str:
    return str(node.name or node.output[0])


def _ops(unit: Unit) -> list[str]:
    return [*unit.ops, *(["Binarize"] if unit.bits_for is not None else [])]


def _why_binarize(plan: Plan, index: int) -> str:
    found = plan.model.binarizes[index]
    if found.threshold is None:
        return "its threshold is no constant"
    return "its signs are used by float operators"
