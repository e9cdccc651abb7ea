"""What the plan decided, in words: one line for every part and every float segment."""

from dataclasses import dataclass, replace

import onnx

from ..bits import DOMAIN
from ..plan.plan import Plan
from ..plan.segments import FloatSegment
from ..plan.view import View

__all__ = ["StepInfo", "describe"]


@dataclass(frozen=True)
class StepInfo:
    """A step of a session.

    ``kind`` is ``binary`` (packed, by ``kernel``), ``integer`` (the exact stem) or ``float`` (onnxruntime, or the
    kernel of a shortcut); ``ops`` are the operators in it in order; ``reason`` says why this kernel, or why a binary
    operator runs float (empty for what is float by nature). ``nodes`` names its nodes in the file
    (a packed step: its layer alone).
    """

    name: str
    kind: str
    ops: tuple[str, ...]
    kernel: str
    reason: str
    nodes: tuple[str, ...] = ()


def describe(plan: Plan) -> list[StepInfo]:
    """Return the steps of a plan in order of execution; a view is no work, and belongs to what makes its source."""
    steps: list[StepInfo] = []
    makers: dict[str, int] = {}
    for segment in plan.segments:
        if isinstance(segment, FloatSegment):
            steps.append(_describe_floats(plan, segment))
            continue
        for planned in segment.parts:
            part, packs = planned.part, () if planned.bits_for is None else ("Binarize",)
            if isinstance(part, View):
                place = makers[part.output] = makers[part.source]
                step = steps[place]
                steps[place] = replace(step, ops=(*step.ops, *part.ops), nodes=(*step.nodes, part.name))
                continue
            makers[part.output] = len(steps)
            ops, kernel = (*part.ops, *packs), planned.kernel.name
            steps.append(StepInfo(part.name, part.kind, ops, kernel, planned.reason, (part.name,)))
    return steps


def _describe_floats(plan: Plan, segment: FloatSegment) -> StepInfo:
    nodes = [(index, plan.model.proto.graph.node[index]) for index in segment.nodes]
    reasons = [
        f"{node.name or node.output[0]}: {_why_float(plan, index, node)}"
        for index, node in nodes
        if node.domain == DOMAIN
    ]
    ops = tuple(node.op_type for _, node in nodes)
    names = tuple(node.name or node.output[0] for _, node in nodes)
    return StepInfo(segment.name, "float", ops or ("Transpose",), "onnxruntime", "; ".join(reasons), names)


def _why_float(plan: Plan, index: int, node: onnx.NodeProto) -> str:
    if node.op_type != "Binarize":
        return plan.reasons[index]
    if plan.model.binarizes[index].threshold is None:
        return "its threshold is no constant"
    return "its signs are used by float operators"
