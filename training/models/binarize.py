"""``binarize``: the convolutions and linear layers of a user's float network become binary ones, ready to train."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from ...runtime.errors import ConfigError
from ..layers.binary import BinaryConv2d, BinaryLinear, RPReLU, RSign
from ..layers.shapes import annotate_shapes
from ..layers.tracing import trace
from ..layers.weight_only import BinaryWeightConv2d, BinaryWeightLinear

__all__ = ["KEPT_FLOAT", "binarize"]

KEPT_FLOAT = "latentbit.kept_float"
"""Key in the result's ``meta`` under which the layers left in float are listed, each with the reason."""

_RELUS: tuple[Any, ...] = (F.relu, F.relu6, torch.relu, "relu")


def binarize(
    network: nn.Module,
    example_input: Tensor,
    *,
    keep_first: bool = True,
    keep_last: bool = True,
    select: Callable[[str, nn.Module], bool] | None = None,
    pad_value: int = 0,
    weight_only: bool = False,
) -> fx.GraphModule:
    """Return a binary form of ``network``, over the same parameters; ``network`` keeps its own form.

    Every ``Conv2d`` becomes RSign -> BinaryConv2d, every ``Linear`` over ``[N, K]`` RSign -> BinaryLinear, with the
    float weight as the real-valued W that training goes on with; a batch norm is added where none follows. Every ReLU
    in front of a binary layer becomes an RPReLU: behind a ReLU nothing is negative, and all signs would be +1.

    network: float, traceable with ``torch.fx``.
    example_input: a batch ``[N, C, H, W]``, of which only the shape counts.
    keep_first, keep_last: leave the first and the last such layer in float (they cost accuracy most).
    select: called with a layer's path and the layer; False leaves it in float.
    pad_value: what lies outside the image for the binary convolutions, −1, 0 or +1.
    weight_only: binarise weights alone; activations stay real (:mod:`.weight_only`), ReLUs stay.

    The result's ``meta["latentbit.kept_float"]`` lists the layers left in float, with the reason. Raises
    UnsupportedError if the network cannot be traced, ConfigError if no layer is left to binarise.
    """
    graph = trace(network)
    annotate_shapes(graph, [example_input], dynamic_spatial=False)
    layers = _layers(graph)
    kept: dict[str, str] = {}
    chosen: list[fx.Node] = []
    for index, node in enumerate(layers):
        path, module = str(node.target), graph.get_submodule(str(node.target))
        reason = _obstacle(node, module)
        if index == 0 and keep_first:
            reason = "the first layer (keep_first)"
        elif index == len(layers) - 1 and keep_last:
            reason = "the last layer (keep_last)"
        elif select is not None and not select(path, module):
            reason = "not selected"
        if reason:
            kept[path] = reason
        else:
            chosen.append(node)
    if not chosen:
        reasons = "; ".join(f"{path}: {reason}" for path, reason in kept.items()) or "it has no Conv2d or Linear"
        raise ConfigError(f"binarize: no layer of the network is left to binarise ({reasons})")
    if not weight_only:
        _open_activations(graph, chosen)
    for path in dict.fromkeys(str(node.target) for node in chosen):
        normed = all(_norm_follows(graph, node) for node in chosen if node.target == path)
        graph.set_submodule(path, _binary(graph.get_submodule(path), normed, pad_value, weight_only))
    graph.delete_all_unused_submodules()
    graph.recompile()
    graph.meta[KEPT_FLOAT] = kept
    return graph


def _layers(graph: fx.GraphModule) -> list[fx.Node]:
    """Return the nodes that call a Conv2d or Linear, in the order of execution."""
    return [
        node
        for node in graph.graph.nodes
        if node.op == "call_module" and type(graph.get_submodule(str(node.target))) in (nn.Conv2d, nn.Linear)
    ]


def _obstacle(node: fx.Node, module: nn.Module) -> str:
    """Return why a layer cannot become binary, or an empty string."""
    if isinstance(module, nn.Conv2d):
        if module.padding_mode != "zeros":
            return f"padding_mode={module.padding_mode!r}"
        return "padding given as a word" if isinstance(module.padding, str) else ""
    rank = len(node.meta["onnx_shape"])
    return "" if rank == 2 else f"a linear layer over {rank} axes"


def _norm_follows(graph: fx.GraphModule, node: fx.Node) -> bool:
    users = list(node.users)
    return (
        len(users) == 1
        and users[0].op == "call_module"
        and isinstance(graph.get_submodule(str(users[0].target)), nn.BatchNorm1d | nn.BatchNorm2d)
    )


def _binary(module: nn.Module, normed: bool, pad_value: int, weight_only: bool) -> nn.Module:
    """Return the binary layers that take the place of a float one, over the same weight."""
    parts: list[tuple[str, nn.Module]]
    if isinstance(module, nn.Conv2d):
        geometry: dict[str, Any] = {
            "stride": module.stride,
            "padding": module.padding,
            "dilation": module.dilation,
            "groups": module.groups,
        }
        sizes = (module.in_channels, module.out_channels, module.kernel_size)
        if weight_only:
            layer: nn.Module = BinaryWeightConv2d(*sizes, **geometry)
        else:
            layer = BinaryConv2d(*sizes, **geometry, pad_value=pad_value)
        sign, norm = RSign(module.in_channels), nn.BatchNorm2d(module.out_channels)
        parts = [("sign", sign), ("conv", layer), ("norm", norm)]
    else:
        assert isinstance(module, nn.Linear)
        kind = BinaryWeightLinear if weight_only else BinaryLinear
        layer = kind(module.in_features, module.out_features)
        parts = [("sign", RSign(module.in_features)), ("dense", layer), ("norm", nn.BatchNorm1d(module.out_features))]
    layer.weight = module.weight
    sequence = nn.Sequential()
    for name, part in parts:
        if (name == "sign" and weight_only) or (name == "norm" and normed):
            continue
        sequence.add_module(name, part)
    return sequence.to(module.weight.device)


def _open_activations(graph: fx.GraphModule, chosen: list[fx.Node]) -> None:
    """Put an RPReLU in the place of every ReLU that has a layer of ``chosen`` behind it."""
    before: set[fx.Node] = set()
    pending = list(chosen)
    while pending:
        for source in pending.pop().all_input_nodes:
            if source not in before:
                before.add(source)
                pending.append(source)
    for node in list(graph.graph.nodes):
        module = graph.get_submodule(str(node.target)) if node.op == "call_module" else None
        is_relu = isinstance(module, nn.ReLU | nn.ReLU6) or (module is None and node.target in _RELUS)
        if node not in before or not is_relu:
            continue
        path = str(node.target) if module is not None else node.name
        calls = sum(other.op == "call_module" and other.target == node.target for other in graph.graph.nodes)
        if module is None or calls > 1:  # one ReLU may be called in many places, an RPReLU has its own parameters
            path = f"{path}_{node.name}" if module is not None else path
        graph.add_submodule(path, RPReLU(int(node.meta["onnx_shape"][1])).to(_device(graph)))
        with graph.graph.inserting_after(node):
            opened = graph.graph.call_module(path, (node.args[0],))
        opened.meta = dict(node.meta)
        node.replace_all_uses_with(opened)
        graph.graph.erase_node(node)


def _device(graph: fx.GraphModule) -> torch.device:
    return next(graph.parameters()).device
