"""Walking a folded torch.fx graph and writing it as ONNX, one emitter per module type, function or method name."""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from torch import Tensor, fx, nn

from ..export.builder import GraphBuilder, Shape
from ..runtime.errors import UnsupportedError

__all__ = ["Emission", "Emitter", "annotate_shapes", "array", "elementwise", "emit_graph", "emitted_name", "pair"]

Emitter = Callable[..., ir.Value]
"""Called with an :class:`Emission` and, for a module, the module; for a function or method, its arguments."""


def array(tensor: Tensor) -> np.ndarray[Any, Any]:
    """Return a tensor's values as a contiguous numpy array, detached."""
    return np.ascontiguousarray(tensor.detach().cpu().numpy())


def pair(value: Any) -> tuple[int, int]:
    """Return a setting of a layer as (rows, columns): one number stands for both."""
    return (int(value), int(value)) if isinstance(value, int) else (int(value[0]), int(value[1]))


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


class _ShapeRecorder(fx.Interpreter):
    """Runs a graph on meta tensors and notes the shape of every value."""

    def __init__(self, graph: fx.GraphModule) -> None:
        super().__init__(graph)
        self.shapes: dict[str, tuple[int, ...]] = {}

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        if isinstance(result, Tensor):
            self.shapes[n.name] = tuple(result.shape)
        return result


def annotate_shapes(graph: fx.GraphModule, examples: Sequence[Tensor], dynamic_spatial: bool) -> None:
    """Write ``node.meta["onnx_shape"]``: batch is ``"N"``; sizes that follow the image ``"H"``, ``"W"``, None.

    The graph is run without data (on meta tensors) for a second batch size, and for a second image size where
    ``dynamic_spatial``: what differs is symbolic. Raises UnsupportedError where the network allows no second size.
    """
    # Handed to deepcopy as copies made already, the weights are not copied.
    tensors: dict[int, Any] = {id(p): nn.Parameter(p.to("meta"), requires_grad=False) for p in graph.parameters()}
    tensors |= {id(buffer): buffer.to("meta") for buffer in graph.buffers()}
    weightless = copy.deepcopy(graph, tensors)
    rows = 1 if examples[0].dtype == torch.uint8 else 2  # pixels lie channels last

    def shapes(batch: int, height: int, width: int) -> dict[str, tuple[int, ...]]:
        sizes = [[e.shape[0] + batch, *e.shape[1:]] for e in examples]
        for size in sizes:
            if len(size) == 4:
                size[rows] += height
                size[rows + 1] += width
        recorder = _ShapeRecorder(weightless)
        meta = [torch.empty(size, dtype=e.dtype, device="meta") for size, e in zip(sizes, examples, strict=True)]
        try:
            with torch.no_grad():
                recorder.run(*meta)
        except Exception as error:
            what = (
                "an input of another batch or image size"
                if height or width or batch
                else f"an input of shape {sizes[0]}"
            )
            raise UnsupportedError(f"the network does not accept {what}: {error}") from error
        return recorder.shapes

    first, more = shapes(0, 0, 0), shapes(1, 0, 0)
    taller = shapes(0, 32, 0) if dynamic_spatial else first
    wider = shapes(0, 0, 32) if dynamic_spatial else first
    batch = examples[0].shape[0]
    for node in graph.graph.nodes:
        if node.name not in first:
            continue
        symbolic: list[int | str | None] = []
        for axis, size in enumerate(first[node.name]):
            grown = (more[node.name][axis], taller[node.name][axis], wider[node.name][axis])
            if grown == (size, size, size):
                symbolic.append(size)
            elif grown == (size + 1, size, size) and size == batch:
                symbolic.append("N")
            elif grown == (size, size + 32, size) and size == examples[0].shape[rows]:
                symbolic.append("H")
            elif grown == (size, size, size + 32) and size == examples[0].shape[rows + 1]:
                symbolic.append("W")
            else:
                symbolic.append(None)
        node.meta["onnx_shape"] = symbolic


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
    if isinstance(result, tuple | list) and all(isinstance(part, fx.Node) for part in result):
        return [builder.output(values[part], f"{name}.{index}") for index, part in enumerate(result)]
    raise UnsupportedError("the network returns something else than a tensor or a tuple of tensors")


def _attribute(graph: fx.GraphModule, path: str) -> Tensor:
    owner: Any = graph
    for part in path.split("."):
        owner = getattr(owner, part)
    if not isinstance(owner, Tensor):
        raise UnsupportedError(f"{path}: only tensors can be exported as constants")
    return owner
