"""From a trained network to what export accepts: trace, fold, record the reference, emit.

``fold`` is the only place where a network changes form. What it returns, a ``torch.fx.GraphModule`` over the modules of
:mod:`.folded`, is the float reference: ``record`` keeps its answers for the accuracy check, ``export_onnx`` writes it.
"""

import copy
import io
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from numpy.typing import NDArray
from torch import Tensor, fx, nn

from ..export.builder import GraphBuilder
from ..export.folding import Affine, batch_norm_affine, fold_binary, fold_real
from ..runtime.bits import pack_signs
from ..runtime.errors import DataError, UnsupportedError
from ..runtime.files import write_bytes
from .binarize import weight_scale
from .emission import annotate_shapes, array, emit_graph, emitted_name
from .emitter_functions import FUNCTIONS, METHODS
from .emitters import MODULES
from .folded import Binarize, ChannelAffine, FoldedBinaryConv2d, FoldedBinaryLinear
from .layers import BinaryConv2d, BinaryLinear, RSign
from .tracing import Tracer, trace

__all__ = ["EMITTERS", "fold", "load_folded", "read_module", "record", "save_folded"]

EMITTERS: dict[Any, Callable[..., ir.Value]] = {**MODULES, **FUNCTIONS, **METHODS}
"""Module type, function or method name -> emitter. A module type registered here is also kept whole while tracing."""

BINARY_LAYERS = (FoldedBinaryConv2d, FoldedBinaryLinear)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


class _ExportTracer(Tracer):
    """Keeps every module whole that has an emitter."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return type(m) in EMITTERS or super().is_leaf_module(m, module_qualified_name)


def fold(network: nn.Module) -> fx.GraphModule:
    """Return the deployed form of a trained network: batch norms folded in float64, weights as signs, on the CPU.

    The network itself is left as it is. A batch norm with no layer directly before it stays as scale and shift per
    channel. A folded network is returned as it is. Raises UnsupportedError for a network that cannot be traced, a batch
    norm without running statistics, or values that are not finite.
    """
    if isinstance(network, fx.GraphModule) and network.meta.get("latentbit.folded"):
        return network
    tracer = _ExportTracer()
    if tracer.is_leaf_module(network, ""):  # a single layer: its forward is not traced, it is one node of a network
        network = nn.Sequential(OrderedDict([(type(network).__name__.lower(), network)]))
    graph = trace(copy.deepcopy(network).cpu().eval(), tracer)
    modules = dict(graph.named_modules())
    calls = _count_calls(graph)
    for node in list(graph.graph.nodes):
        if node.op != "call_module" or not isinstance(modules[node.target], _NORMS):
            continue
        norm = _affine(modules[node.target], str(node.target))
        source = node.args[0]
        target = source.target if source.op == "call_module" else None
        if target is not None and calls[target] == 1 and len(source.users) == 1:
            folded = _fold_into(modules[target], norm)
            if folded is not None:
                _replace(graph, target, folded)
                modules[target] = folded
                node.replace_all_uses_with(source)
                graph.graph.erase_node(node)
                continue
        _replace(graph, str(node.target), ChannelAffine(_float(norm.scale), _float(norm.shift)))
    for target, module in list(modules.items()):
        if target in calls and isinstance(module, RSign):
            _replace(graph, target, Binarize(module.threshold))
        elif target in calls and isinstance(module, BinaryConv2d | BinaryLinear):
            folded = _fold_into(module, None)
            assert folded is not None
            _replace(graph, target, folded)
    graph.delete_all_unused_submodules()
    graph.recompile()
    graph.meta["latentbit.folded"] = True
    return graph.eval()


def _count_calls(graph: fx.GraphModule) -> dict[Any, int]:
    calls: dict[Any, int] = {}
    for node in graph.graph.nodes:
        if node.op == "call_module":
            calls[node.target] = calls.get(node.target, 0) + 1
    return calls


def _affine(norm: nn.BatchNorm1d | nn.BatchNorm2d, name: str) -> Affine:
    if norm.running_mean is None or norm.running_var is None:
        raise UnsupportedError(f"{name}: a batch norm without running statistics cannot be folded")
    gamma = None if norm.weight is None else array(norm.weight)
    beta = None if norm.bias is None else array(norm.bias)
    return batch_norm_affine(gamma, beta, array(norm.running_mean), array(norm.running_var), norm.eps, name)


def _fold_into(module: nn.Module, norm: Affine | None) -> nn.Module | None:
    """Return the module with the norm in it, or None where it is of a kind that takes none."""
    if isinstance(module, BinaryConv2d | BinaryLinear):
        alpha = array(weight_scale(module.weight)).reshape(-1)
        scale, bias = (torch.from_numpy(v) for v in fold_binary(alpha, None, norm))
        signs = torch.where(module.weight.detach() >= 0, 1, -1)
        if isinstance(module, BinaryLinear):
            return FoldedBinaryLinear(signs, scale, bias)
        return FoldedBinaryConv2d(
            signs,
            scale,
            bias,
            strides=module.stride,
            pads=(*module.padding, *module.padding),
            dilations=module.dilation,
            groups=module.groups,
            pad_value=float(module.pad_value),
        )
    if norm is not None and isinstance(module, nn.Conv2d | nn.Linear):
        offset = None if module.bias is None else array(module.bias)
        weight, shift = fold_real(array(module.weight), offset, norm)
        module.weight = nn.Parameter(torch.from_numpy(weight))
        module.bias = nn.Parameter(torch.from_numpy(shift))
        return module
    return None


def _replace(graph: fx.GraphModule, path: str, module: nn.Module) -> None:
    parent, _, name = path.rpartition(".")
    setattr(graph.get_submodule(parent), name, module)


def _float(values: NDArray[np.float64]) -> Tensor:
    return torch.from_numpy(values.astype(np.float32))


def save_folded(folded: fx.GraphModule, path: str | Path) -> None:
    """Write the values of a folded network (its structure is that of the network it was folded from)."""
    buffer = io.BytesIO()
    torch.save(folded.state_dict(), buffer)
    write_bytes(path, buffer.getvalue())


def load_folded(network: nn.Module, path: str | Path) -> fx.GraphModule:
    """Return the folded form of ``network`` with the values of ``path``; DataError where they do not fit."""
    folded = fold(network)
    try:
        folded.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:
        first = str(error).strip().splitlines()[0]
        raise DataError(f"{path}: not the folded values of this network ({first}); run the stage fold again") from error
    return folded


class _SignRecorder(fx.Interpreter):
    """Runs a folded network and keeps the packed input of every binary layer, under its name in the file."""

    def __init__(self, graph: fx.GraphModule) -> None:
        super().__init__(graph)
        self.inputs: dict[str, Tensor] = {}

    def run_node(self, n: fx.Node) -> Any:
        if n.op == "call_module" and isinstance(self.fetch_attr(str(n.target)), BINARY_LAYERS):
            source = n.args[0]
            assert isinstance(source, fx.Node)
            self.inputs[emitted_name(n)] = self.env[source]
        return super().run_node(n)


def record(folded: fx.GraphModule, inputs: NDArray[np.float32], *, batch_size: int = 256) -> dict[str, NDArray[Any]]:
    """Run the reference over ``inputs`` ``[S, ...]`` and return its arrays.

    ``logits`` float32 ``[S, classes]``; for every binary layer ``signs/<name>``, the ±1 input of that layer packed
    along axis 1 (uint8, :mod:`latentbit.runtime.bits`), and ``shape/<name>``, int64, its shape without the batch.
    """
    logits: list[NDArray[Any]] = []
    signs: dict[str, list[NDArray[np.uint8]]] = {}
    shapes: dict[str, NDArray[np.int64]] = {}
    for start in range(0, len(inputs), batch_size):
        recorder = _SignRecorder(folded)
        with torch.no_grad():
            result = recorder.run(torch.from_numpy(np.ascontiguousarray(inputs[start : start + batch_size])))
        logits.append(array(result))
        for name, value in recorder.inputs.items():
            signs.setdefault(name, []).append(pack_signs(array(value), axis=1))
            shapes[name] = np.array(value.shape[1:], np.int64)
    record = {"logits": np.concatenate(logits)}
    record |= {f"signs/{name}": np.concatenate(parts) for name, parts in signs.items()}
    return record | {f"shape/{name}": shape for name, shape in shapes.items()}


def read_module(
    network: nn.Module,
    example_input: Tensor | Sequence[Tensor],
    *,
    dynamic_spatial: bool = False,
    output_name: str = "logits",
) -> ir.Model:
    """Turn a torch network into an onnx-ir model: fold (if it is not folded yet), find the shapes, emit.

    example_input: a tensor, or one a argument of ``forward``. The batch becomes symbolic (``"N"``), and with
    ``dynamic_spatial`` the image size too (``"H"``, ``"W"``). Names in the model are module paths.
    """
    folded = fold(network)
    examples = [example_input] if isinstance(example_input, Tensor) else list(example_input)
    annotate_shapes(folded, examples, dynamic_spatial)
    builder = GraphBuilder(type(network).__name__)
    emit_graph(folded, builder, EMITTERS, output_name)
    return builder.model({})
