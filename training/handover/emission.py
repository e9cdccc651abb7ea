"""Walking a folded torch.fx graph and writing it as ONNX, one emitter per module type, function or method name."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from torch import Tensor, fx

from ...export.builder import GraphBuilder, Shape
from ...runtime.errors import UnsupportedError
from ..loop.evaluate import named_outputs

__all__ = ["Emission", "Emitter", "array", "elementwise", "emit_graph", "emitted_name"]

Emitter = Callable[..., ir.Value]
"""Called with an :class:`Emission` and, for a module, the module; for a function or method, its arguments."""


def array(tensor: Tensor) -> np.ndarray[Any, Any]:
    """Return a tensor's values as a contiguous numpy array, detached."""
    return np.ascontiguousarray(tensor.detach().cpu().numpy())


class Emission:
    """What an emitter sees of one fx node: its name in the file, its inputs as ONNX values, its shape."""

    def __init__(self, builder: GraphBuilder, node: fx.Node, values: Mapping[fx.Node, ir.Value]) -> None:
        self.builder = builder
        self.node = node
        self.name = emitted_name(node)
        self.shape: Shape = node.meta.get("onnx_shape", [])
        self._values = values

    def value(self, argument: Any, suffix: str = "operand") -> ir.Value:
        """Return the ONNX value of an argument; a number or tensor becomes a constant ``<name>.<suffix>``."""
        if isinstance(argument, fx.Node):
            return self._values[argument]
        if isinstance(argument, Tensor):
            return self.constant(suffix, array(argument))
        if isinstance(argument, bool | int | float):
            return self.constant(suffix, np.array(argument, np.float32))
        raise UnsupportedError(f"{self.name}: cannot export an argument of type {type(argument).__name__}")

    def rank(self, argument: fx.Node) -> int:
        """Return the number of axes of an argument."""
        return len(argument.meta["onnx_shape"])

    def shape_of(self, argument: fx.Node) -> list[int | str | None]:
        """Return the sizes of an argument; symbolic ones are strings or None."""
        return list(argument.meta["onnx_shape"])

    def constant(self, suffix: str, values: np.ndarray[Any, Any]) -> ir.Value:
        """Add a constant called ``<name>.<suffix>``."""
        return self.builder.constant(f"{self.name}.{suffix}", values)

    def channels(self, suffix: str, tensor: Tensor) -> ir.Value:
        """Add per-channel float32 values that broadcast over axis 1 of the node's output: ``[C, 1, 1]`` for NCHW."""
        return self.constant(suffix, array(tensor.float()).reshape(-1, *[1] * (len(self.shape) - 2)))

    def __call__(
        self,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        suffix: str = "",
        *,
        shape: Shape | None = None,
        dtype: Any = np.float32,
        domain: str = "",
        **attributes: Any,
    ) -> ir.Value:
        """Write one ONNX node, ``<name>`` or ``<name>.<suffix>``, of the fx node's shape unless another is given."""
        name = f"{self.name}.{suffix}" if suffix else self.name
        sizes = self.shape if shape is None else shape
        return self.builder.node(op_type, inputs, name, sizes, dtype=dtype, domain=domain, **attributes)


def elementwise(e: Emission, op_type: str, x: fx.Node, **attributes: Any) -> ir.Value:
    """Write one ONNX node of one input, of the fx node's shape."""
    return e(op_type, [e.value(x)], **attributes)


def emitted_name(node: fx.Node) -> str:
    """Return the node's name in the file: the module's path, or for a function ``<path of its module>.<function>``."""
    if node.op == "call_module":
        return str(node.target)
    stack = node.meta.get("nn_module_stack") or {}
    paths = [entry[0] if isinstance(entry, tuple) else entry for entry in stack.values()]
    inner = str(paths[-1]) if paths else ""
    return f"{inner}.{node.name}" if inner else node.name


def emit_graph(
    graph: fx.GraphModule,
    builder: GraphBuilder,
    emitters: Mapping[Any, Emitter],
    examples: Sequence[Tensor],
    output: str,
) -> list[ir.Value]:
    """Write every node of an annotated graph and return its outputs; one UnsupportedError names all unknown nodes."""
    values: dict[fx.Node, ir.Value] = {}
    modules = dict(graph.named_modules())
    placeholders = [node for node in graph.graph.nodes if node.op == "placeholder"]
    dtypes = {node: array(example).dtype for node, example in zip(placeholders, examples, strict=True)}
    outputs: list[ir.Value] = []
    unknown: list[str] = []
    for node in graph.graph.nodes:
        if node.op == "placeholder":
            name = "input" if len(placeholders) == 1 else str(node.target)
            values[node] = builder.input(name, node.meta["onnx_shape"], dtypes[node])
        elif node.op == "get_attr":
            tensor = _attribute(graph, str(node.target))
            values[node] = builder.constant(str(node.target), array(tensor))
        elif node.op == "output":
            outputs = [] if unknown else _emit_outputs(node.args[0], builder, values, output)
        elif "onnx_shape" in node.meta:
            key = type(modules[str(node.target)]) if node.op == "call_module" else node.target
            if key not in emitters:
                unknown.append(f"{emitted_name(node)} ({getattr(key, '__name__', key)})")
            elif not unknown:
                # after a first unknown node its users cannot be written; the walk goes on to name the others
                emission = Emission(builder, node, values)
                if node.op == "call_module":
                    values[node] = emitters[key](emission, modules[str(node.target)], *node.args, **node.kwargs)
                else:
                    values[node] = emitters[key](emission, *node.args, **node.kwargs)
        # what is left are sizes (x.size(0), x.shape): the emitters of view and reshape read the shapes themselves
    if unknown:
        raise UnsupportedError(
            f"no emitter for {', '.join(unknown)}; register one with "
            "latentbit.training.register_emitter (docs/export.md shows how)"
        )
    return outputs


def _emit_outputs(result: Any, builder: GraphBuilder, values: Mapping[fx.Node, ir.Value], name: str) -> list[ir.Value]:
    if isinstance(result, fx.Node):
        return [builder.output(values[result], name)]
    parts: dict[str, Any] = named_outputs(result, name)
    if not all(isinstance(part, fx.Node) for part in parts.values()):
        raise UnsupportedError("the network returns something else than tensors, or tuples or dicts of them")
    return [builder.output(values[part], path) for path, part in parts.items()]


def _attribute(graph: fx.GraphModule, path: str) -> Tensor:
    owner: Any = graph
    for part in path.split("."):
        owner = getattr(owner, part)
    if not isinstance(owner, Tensor):
        raise UnsupportedError(f"{path}: only tensors can be exported as constants")
    return owner
