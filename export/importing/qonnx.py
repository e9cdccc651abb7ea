"""The dialect QONNX (arXiv 2206.07527), which Brevitas, QKeras and FINN write: its operators in standard ONNX.

==============================  ====================================================================================
``BipolarQuant(x, s)``          ``Where(x >= 0, 1, −1) · s``
``Quant``, ``IntQuant``         ``(Round(Clip(x / s + z, min, max)) − z) · s`` with the limits of its bits
``Trunc``                       ``(Floor(Round(x / s + z) / 2^k) − z) · s``: bits cut off; :mod:`.qonnx_quantisers`
``FloatQuant``                  ``step · Round(x / s / step) · s`` with the step of each power of two
``MultiThreshold(x, T)``        ``a · (number of thresholds t <= x) + b``; the rest in :mod:`.qonnx_layers`
``Conv``, ``MaxPool``, …        of the domain ``channels_last``: between two Transposes
==============================  ====================================================================================

The formulas and their order are those of ``qonnx.custom_op`` (package qonnx 1.0.0). What else the dialect holds is
named in one ModelError by the conductor: nothing stays behind unnoticed.
"""

import onnx_ir as ir
from onnx_ir.passes.common import ShapeInferencePass

from ...runtime.errors import ModelError
from ..graph.constants import Constants
from .qonnx_layers import CHANNELS_LAST, LAYERS
from .qonnx_quantisers import QUANTISERS
from .writing import Lowering, NodeWriter, NotYet

__all__ = ["QONNX_OPERATORS", "lower_qonnx"]

_GENERAL = frozenset({"qonnx.custom_op.general", "onnx.brevitas", "finn.custom_op.general", "qonnx", "finn"})
"""Names under which exporters of different years file the operators that are not ``channels_last``."""

_LAST = frozenset({"qonnx.custom_op.channels_last"})

_OPERATORS: dict[str, Lowering] = {**QUANTISERS, **LAYERS}

QONNX_OPERATORS = frozenset(_OPERATORS)
"""Operators whose names standard ONNX does not have: old files write them without a domain."""


def lower_qonnx(model: ir.Model) -> None:
    """Write the operators of QONNX in standard ONNX, in place. Raises ModelError for parameters it cannot carry.

    Some need to know how many axes a value has. They wait until the others are written and shapes can be inferred.
    """
    waiting = [node for node in model.graph.all_nodes() if _find(node) is not None]
    inferred = False
    while waiting:
        constants = Constants(model)
        left, reason = [], ""
        for node in waiting:
            lower = _find(node)
            assert lower is not None
            write = NodeWriter(model, node, constants)
            try:
                write.put(lower(write))
            except NotYet as missing:
                reason = reason or str(missing)
                left.append(node)
        if inferred and len(left) == len(waiting):
            raise ModelError(f"{reason}; export the model with the shapes of its values")
        if left:
            ShapeInferencePass(check_type=False, strict_mode=False)(model)
        inferred, waiting = True, left


def _find(node: ir.Node) -> Lowering | None:
    if node.domain in _GENERAL:
        return _OPERATORS.get(node.op_type)
    return CHANNELS_LAST.get(node.op_type) if node.domain in _LAST else None
