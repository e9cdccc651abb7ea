"""The one builder of test and benchmark graphs: it collects nodes and constants, and writes our operators' nodes.

It needs plain onnx alone. The operators' functions come from a stored file, for a device has no onnxscript.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import ArrayLike, NDArray
from onnx import helper, numpy_helper

from latentbit.runtime.bits import DOMAIN, OPSET_VERSION, pack_conv_weight, pack_signs

__all__ = ["FLOAT", "STORED", "Graph"]

STORED = Path(__file__).parents[1] / "data" / "operators.onnx"
FLOAT = onnx.TensorProto.FLOAT


@cache
def _functions() -> tuple[onnx.FunctionProto, ...]:
    return tuple(onnx.load(STORED).functions)


class Graph:
    """A graph written node by node; every method returns the name of the value it makes."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, array: ArrayLike, name: str | None = None) -> str:
        """Add a constant; float64 becomes float32."""
        value = np.asarray(array, order="C")
        value = value.astype(np.float32) if value.dtype == np.float64 else value
        name = name or f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(value, name))
        return name

    def node(
        self, op_type: str, inputs: Sequence[str], domain: str = "", *, name: str | None = None, **attributes: Any
    ) -> str:
        """Add a node with one output, ``NAME.out``."""
        name = name or f"{op_type.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(op_type, inputs, [f"{name}.out"], name, domain=domain, **attributes))
        return f"{name}.out"

    def binary(
        self,
        op_type: str,
        value: str,
        weight: NDArray[Any],
        scale: NDArray[Any],
        bias: NDArray[Any],
        name: str | None = None,
        **attributes: Any,
    ) -> str:
        """Add a layer of our operators; weight is ±1, ``[O, C/group, kh, kw]`` or ``[O, K]``, and is packed here."""
        packed = pack_conv_weight(weight) if weight.ndim == 4 else pack_signs(weight)
        inputs = [value, self.constant(packed), *(self.constant(part.astype(np.float32)) for part in (scale, bias))]
        return self.node(op_type, inputs, DOMAIN, name=name, weight_shape=list(weight.shape), **attributes)

    def build(
        self,
        inputs: Mapping[str, Sequence[int | str]] | Sequence[onnx.ValueInfoProto],
        outputs: Mapping[str, Sequence[int | str | None] | None],
        *,
        name: str = "graph",
        domains: Mapping[str, int] | None = None,
        **options: Any,
    ) -> onnx.ModelProto:
        """Return the model: float inputs and outputs by name with their shapes, opset 18 if ``domains`` names no other.

        ``domains`` are the versions to import. With our domain come the functions of the operators that are used.
        """
        if isinstance(inputs, Mapping):
            inputs = [helper.make_tensor_value_info(entry, FLOAT, shape) for entry, shape in inputs.items()]
        infos = [helper.make_tensor_value_info(entry, FLOAT, shape) for entry, shape in outputs.items()]
        versions = {"": 18} | dict({DOMAIN: OPSET_VERSION} if domains is None else domains)
        used = {node.op_type for node in self.nodes if node.domain == DOMAIN}
        return helper.make_model(
            helper.make_graph(self.nodes, name, inputs, infos, self.constants),
            ir_version=8,
            opset_imports=[helper.make_opsetid(domain, version) for domain, version in versions.items()],
            functions=[function for function in _functions() if function.name in used],
            **options,
        )
