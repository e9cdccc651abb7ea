"""The float stem: the first convolution over real numbers as the caller feeds them, found in the graph as one part.

::

    float32 NCHW, fed ─ Conv + bias ─ [stages of a chain, and a MaxPool] ─► value that parts alone read, NHWC

It runs in the segment of the packed layers, without the call of onnxruntime and the transpose of its output. Its sums
are of float32, in the order of the window's rows, the input channels and the window's columns with one rounding a
multiply-add: the same on every CPU, though not the bits of onnxruntime, whose order depends on the CPU.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import onnx
from numpy.typing import NDArray

from ..intake.model import Model
from ..intake.windows import Window, pool_window
from ..layout.float_words import ChainOp
from ..operators import STANDARD_DOMAINS
from .chain import Chain, Stage, match_stage
from .graph import Graph
from .levels import needed_floats
from .parts import Part
from .units import Unit

__all__ = ["FloatStem", "behind_stem", "find_float_stem", "keeps_order", "stands_alone", "with_chain"]


@dataclass(frozen=True, eq=False)
class FloatStem:
    """``output = maxpool(stages(conv(source) + bias))``, weight float32 ``[O, C, kh, kw]``, bias ``[O]``.

    ``source`` names floats ``[N, C, H, W]`` as the caller gives them. Each stage reads the one before it and numbers
    per channel alone.
    """

    kind: ClassVar[str] = "float"
    rank: ClassVar[int] = 4
    reads: ClassVar[tuple[str, ...]] = ()  # what it reads is not channels last

    name: str
    source: str
    output: str
    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    window: Window
    nodes: tuple[int, ...]
    ops: tuple[str, ...]
    stages: tuple[Stage, ...] = ()
    pool: Window | None = None

    @property
    def channels_out(self) -> int:
        """Output channels O."""
        return int(self.weight.shape[0])


def find_float_stem(model: Model, graph: Graph, units: Sequence[Unit]) -> FloatStem | None:
    """Return the first convolution with the max-pool behind it and what stands between, or None for another beginning.

    Without such a pool it is the convolution alone. A value that a unit reads ends it.
    """
    for index, node in enumerate(graph.nodes):
        if node.op_type == "Conv" and node.domain in STANDARD_DOMAINS:
            stem = _match(model, graph, index)
            return None if stem is None else _up_to_pool(model, graph, stem, units)
    return None


def _match(model: Model, graph: Graph, index: int) -> FloatStem | None:
    conv = graph.nodes[index]
    source = str(conv.input[0])
    window, weight = pool_window(conv), model.constants.get(conv.input[1])
    bias = model.constants.get(conv.input[2]) if len(conv.input) > 2 else None
    fed = {info.name for info in model.proto.graph.input} - set(model.constants)
    if source not in fed or model.types[source].elem != onnx.TensorProto.FLOAT or window is None or weight is None:
        return None
    shape = model.types[source].shape
    if weight.dtype != np.float32 or weight.ndim != 4 or weight.shape[2:] != window.kernel or not weight.size:
        return None
    if shape is None or len(shape) != 4 or shape[1] != weight.shape[1]:
        return None
    if len(conv.input) > 2 and (bias is None or bias.dtype != np.float32 or bias.shape != weight.shape[:1]):
        return None
    if not np.isfinite(weight).all() or (bias is not None and not np.isfinite(bias).all()):
        return None  # of an infinite weight the padding makes NaN
    return FloatStem(
        name=str(conv.name or conv.output[0]),
        source=source,
        output=str(conv.output[0]),
        weight=weight,
        bias=np.zeros(weight.shape[0], np.float32) if bias is None else bias,
        window=window,
        nodes=(index,),
        ops=("Conv",),
    )


def _up_to_pool(model: Model, graph: Graph, stem: FloatStem, units: Sequence[Unit]) -> FloatStem:
    """Return the stem with the stages up to a max-pool and the pool, unchanged where none follows."""
    output, nodes, ops, stages = stem.output, stem.nodes, stem.ops, stem.stages
    while (index := graph.only_reader(output)) is not None:
        node = graph.nodes[index]
        nodes, ops = (*nodes, index), (*ops, str(node.op_type))
        if node.op_type == "MaxPool" and (pool := pool_window(node)) is not None:
            if all(unit.pools_floats and unit.pool == pool for unit in units if unit.source == output):
                return replace(stem, output=str(node.output[0]), nodes=nodes, ops=ops, stages=stages, pool=pool)
            break
        stage = match_stage(model, node, stem.channels_out)
        if stage is None or stage.other is not None:
            break
        output, stages = str(node.output[0]), (*stages, stage)
    return stem


def keeps_order(stage: Stage) -> bool:
    """Tell whether a stage with numbers per channel never makes less of more, nor NaN of an infinity.

    Then a maximum may be taken before it: its arithmetic is monotone, rounding included.
    """
    numbers = stage.first
    if stage.other is not None or numbers is None or not np.isfinite(numbers).all():
        return False
    if stage.op in (ChainOp.MULTIPLY, ChainOp.DIVIDE, ChainOp.PRELU):
        return bool((numbers > 0).all())
    return stage.op in (ChainOp.ADD, ChainOp.SUBTRACT, ChainOp.CLIP)


def behind_stem(graph: Graph, stem: FloatStem, units: Sequence[Unit]) -> list[Unit]:
    """Return the units, those that would take the maximum themselves reading that of the stem."""
    if stem.pool is None:
        return list(units)
    pooled = graph.nodes[stem.nodes[-1]].input[0]
    return [
        replace(unit, source=stem.output, pool=None, pools_floats=False, ops=unit.ops[1:])
        if unit.source == pooled
        else unit
        for unit in units
    ]


def stands_alone(model: Model, graph: Graph, stem: FloatStem, parts: Collection[Part]) -> bool:
    """Tell whether parts alone read what the stem makes and what parts make of nothing else."""
    inside = {name for index in stem.nodes for name in graph.nodes[index].output} - {stem.output}
    own = {stem.output}
    for part in sorted(parts, key=lambda part: max(part.nodes)):
        if not inside.isdisjoint(part.reads):
            return False
        if part.kind == "float" and part.reads and own.issuperset(part.reads):
            own.add(part.output)
    needed = needed_floats(model, graph, parts)
    read = {*graph.outputs, *(name for names in needed.values() for name in names)}
    return read.isdisjoint(own | inside)


def with_chain(stem: FloatStem, chain: Chain, parts: Collection[Part]) -> FloatStem | None:
    """Return the stem with the stages of a chain that alone reads its output, None where that is none of its own."""
    if stem.pool is not None or chain.reads != (stem.output,) or any(stage.other is not None for stage in chain.stages):
        return None
    if any(stem.output in part.reads for part in parts if part is not chain):
        return None
    return replace(
        stem,
        output=chain.output,
        nodes=(*stem.nodes, *chain.nodes),
        ops=(*stem.ops, *chain.ops),
        stages=chain.stages,
    )
