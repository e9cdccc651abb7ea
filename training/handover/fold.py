"""Folding: a trained network becomes what is deployed, and nothing else is.

``fold`` is the only place where a network changes form. It returns a ``torch.fx.GraphModule`` over the modules of
:mod:`.folded` and ordinary layers without batch norm: the float reference of the accuracy check, and what is exported.
"""

import copy
from collections import Counter, OrderedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx, nn

from ...export.folding import Affine, batch_norm_affine, fold_binary, fold_real
from ...runtime.errors import UnsupportedError
from ..layers.binary import BinaryConv2d, BinaryLinear, RSign
from ..layers.tracing import Tracer, trace
from ..layers.weight_only import BinaryWeightConv2d, BinaryWeightLinear
from .carried import signs_and_scale
from .emission import array
from .emitters.layers import MODULES
from .folded import (
    Binarize,
    ChannelAffine,
    FoldedBinaryConv2d,
    FoldedBinaryLinear,
    FoldedWeightConv2d,
    FoldedWeightLinear,
)
from .int8_weights import store_as_int8
from .pixels import IntegerStem, PixelInput, Pixels, check_pixels

__all__ = ["fold"]

_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


class _ExportTracer(Tracer):
    """Keeps every module whole that has an emitter."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return type(m) in MODULES or super().is_leaf_module(m, module_qualified_name)


def fold(
    network: nn.Module, *, pixels: Pixels | None = None, exact_stem: bool = False, int8_weights: bool = False
) -> fx.GraphModule:
    """Return the deployed form of a trained network: batch norms folded in float64, weights as signs, on the CPU.

    network: is left as it is. One that is folded already is returned unchanged; it takes no option any more.
    pixels: how the network's input is normalised; given, the folded network takes uint8 ``[N, H, W, C]`` instead.
    exact_stem: with ``pixels``, round the first convolution to int8 weights (:class:`.pixels.IntegerStem`).
    int8_weights: round the weights of the float layers that remain to int8, one scale an output channel.

    A batch norm with no layer directly before it stays as scale and shift per channel. The signs of a binary layer are
    those it computes with, so a weight regulariser is folded too (:func:`..layers.weights.bake` gives the same file).
    Raises UnsupportedError for a network that cannot be traced, a layer whose weights are not binary (``real``), a
    batch norm without running statistics, values that are not finite, a first layer that cannot be made exact, or an
    option for a folded network; ConfigError for ``pixels`` that are none.
    """
    if isinstance(network, fx.GraphModule) and network.meta.get("latentbit.folded"):
        options = {"pixels": pixels is not None, "exact_stem": exact_stem, "int8_weights": int8_weights}
        if given := [name for name, value in options.items() if value]:
            raise UnsupportedError(f"the network is folded already: give {', '.join(given)} to fold() when you fold it")
        return network
    pixels = None if pixels is None else check_pixels(pixels)
    tracer = _ExportTracer()
    if tracer.is_leaf_module(network, ""):  # a single layer: its forward is not traced, it is one node of a network
        network = nn.Sequential(OrderedDict([(type(network).__name__.lower(), network)]))
    graph = trace(copy.deepcopy(network).cpu().eval(), tracer)
    _fold_norms(graph)
    _fold_the_rest(graph)
    if pixels is not None:
        _take_pixels(graph, pixels, exact_stem)
    elif exact_stem:
        raise UnsupportedError("an exact stem reads pixels: pass pixels=Pixels(mean, std, range) as well")
    graph.delete_all_unused_submodules()
    graph.recompile()
    if int8_weights:
        store_as_int8(graph)
    graph.meta["latentbit.folded"] = True
    return graph.eval()


def _fold_norms(graph: fx.GraphModule) -> None:
    """Put every batch norm into the layer before it, or make it a scale and shift."""
    modules = dict(graph.named_modules())
    calls = Counter(node.target for node in graph.graph.nodes if node.op == "call_module")
    for node in list(graph.graph.nodes):
        if node.op != "call_module" or not isinstance(modules[node.target], _NORMS):
            continue
        norm = _affine(modules[node.target], str(node.target))
        source = node.args[0]
        # A layer that others read too, or that is called elsewhere, must keep what it computes.
        alone = source.op == "call_module" and calls[source.target] == 1 and len(source.users) == 1
        folded = _fold_into(modules[source.target], norm, source.target) if alone else None
        if folded is None:
            graph.set_submodule(str(node.target), ChannelAffine(_float(norm.scale), _float(norm.shift)))
            continue
        graph.set_submodule(source.target, folded)
        modules[source.target] = folded
        node.replace_all_uses_with(source)
        graph.graph.erase_node(node)


def _fold_the_rest(graph: fx.GraphModule) -> None:
    """Replace the binary layers that no batch norm follows, and the signs."""
    for path in {str(node.target) for node in graph.graph.nodes if node.op == "call_module"}:
        module = graph.get_submodule(path)
        folded = Binarize(module.threshold) if isinstance(module, RSign) else _fold_into(module, None, path)
        if folded is not None:
            graph.set_submodule(path, folded)


def _affine(norm: nn.Module, name: str) -> Affine:
    assert isinstance(norm, _NORMS)
    if norm.running_mean is None or norm.running_var is None:
        raise UnsupportedError(f"{name}: a batch norm without running statistics cannot be folded")
    gamma = None if norm.weight is None else array(norm.weight)
    beta = None if norm.bias is None else array(norm.bias)
    return batch_norm_affine(gamma, beta, array(norm.running_mean), array(norm.running_var), norm.eps, name)


def _fold_into(module: nn.Module, norm: Affine | None, name: str) -> nn.Module | None:
    """Return the module with the norm in it, or None where it is of a kind that takes none."""
    if isinstance(module, BinaryConv2d | BinaryLinear):
        signs, alpha = signs_and_scale(module, name)
        scale, bias = (torch.from_numpy(v) for v in fold_binary(array(alpha).reshape(-1), None, norm))
        if isinstance(module, BinaryLinear):
            dense = FoldedWeightLinear if isinstance(module, BinaryWeightLinear) else FoldedBinaryLinear
            return dense(signs, scale, bias)
        convolution = FoldedWeightConv2d if isinstance(module, BinaryWeightConv2d) else FoldedBinaryConv2d
        return convolution(
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


def _take_pixels(graph: fx.GraphModule, pixels: Pixels, exact_stem: bool) -> None:
    """Let the network read uint8 images, by normalisation in the graph or by an exact first convolution."""
    placeholders = [node for node in graph.graph.nodes if node.op == "placeholder"]
    if len(placeholders) != 1:
        raise UnsupportedError(f"pixels as input need a network of one input, not {len(placeholders)}")
    image = placeholders[0]
    if exact_stem:
        readers = list(image.users)
        stem = graph.get_submodule(str(readers[0].target)) if readers[0].op == "call_module" else None
        if len(readers) != 1 or not isinstance(stem, nn.Conv2d):
            raise UnsupportedError(
                "an exact stem needs a network that begins with one convolution and nothing beside it"
            )
        graph.set_submodule(str(readers[0].target), IntegerStem.of(stem, pixels, str(readers[0].target)))
        return
    graph.add_submodule("pixels", PixelInput(pixels))
    with graph.graph.inserting_after(image):
        normalised = graph.graph.call_module("pixels", (image,))
    image.replace_all_uses_with(normalised, delete_user_cb=lambda user: user is not normalised)


def _float(values: NDArray[np.float64]) -> Tensor:
    return torch.from_numpy(values.astype(np.float32))
