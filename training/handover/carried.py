"""Our layers as operators that ``torch.export`` carries: each call becomes one node of ``ai.latentbit`` in the graph.

``torch.onnx.ops.symbolic`` says in a ``forward`` which ONNX node stands for it, and which shape comes out.
:func:`carry` gives such a forward to every layer of ours in a copy of a network, together with the values that the node
holds: packed weights, scale and bias. The modules stay where they are, with their hooks, so that names are their paths.

A subclass with a ``forward`` of its own is left as it is: torch reads what it computes, and what is binary in it is
found in the graph like that of any other network (:mod:`latentbit.export.importing`).
"""

import types
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import onnx_ir as ir
import torch
from torch import Tensor, nn

from ...runtime.bits import DOMAIN, OPSET_VERSION, pack_conv_weight, pack_signs
from ...runtime.errors import UnsupportedError
from ..layers.binary import BinaryConv2d, BinaryLinear, RPReLU, RSign
from ..layers.signs import weight_scale
from ..layers.weight_only import BinaryWeightConv2d, BinaryWeightLinear
from ..layers.weights import LatentWeightLayer

__all__ = ["carried_weights", "carry", "signs_and_scale"]

_PACKED = "packed_weight"
"""The name under which a layer holds its packed weights: code that reads ``weight`` finds what it always finds."""


def signs_and_scale(layer: LatentWeightLayer, name: str) -> tuple[Tensor, Tensor]:
    """Return int8 sign(W) ``[O, …]`` and α ``[O, 1, …]`` of the W that the layer binarises.

    Raises UnsupportedError, naming ``name``, where W is not finite or the layer computes with W itself.
    """
    weight = layer.latent_weight().detach()
    if not weight.isfinite().all():
        raise UnsupportedError(f"{name}: W holds NaN or infinity; the training run diverged")
    if layer.bits != 1:
        raise UnsupportedError(
            f"{name}: its weights are not α·sign(W) (bits={layer.bits}), and no others are packed;"
            " bake(network) makes them so"
        )
    return torch.where(weight >= 0, 1, -1).to(torch.int8), weight_scale(weight)


def carry(network: nn.Module) -> None:
    """Let every layer of ours in ``network`` be carried as an operator, in place: it can only be exported afterwards.

    Raises UnsupportedError as :func:`signs_and_scale` does.
    """
    for path, module in network.named_modules():
        for law in LAWS:
            if isinstance(module, law.layer) and all(
                getattr(type(module), name) is getattr(law.layer, name) for name in law.read
            ):
                law.prepare(module, path or type(module).__name__)
                module.forward = types.MethodType(law.forward, module)
                break


def carried_weights(graph: ir.Graph) -> None:
    """Give the packed weights of carried layers the names of the weights that they stand for, in place."""
    for name in [name for name in graph.initializers if name.rpartition(".")[2] == _PACKED]:
        value, weight = graph.initializers.pop(name), f"{name.removesuffix(_PACKED)}weight"
        real = graph.initializers.pop(weight, None)
        value.name = weight
        graph.initializers[weight] = value
        if real is not None and real.uses():  # code that computes with it
            real.name = f"{weight}.real"
            graph.initializers[real.name] = real


def _keep(module: nn.Module, **values: Tensor) -> None:
    """Let a module hold these values alone."""
    for name in [*module._parameters, *module._buffers]:
        delattr(module, name)
    for name, value in values.items():
        module.register_buffer(name, value)


def _node(name: str, x: Tensor, shape: Any, *constants: Tensor, **attributes: Any) -> Tensor:
    return torch.onnx.ops.symbolic(
        f"{DOMAIN}::{name}", (x, *constants), attributes, dtype=torch.float32, shape=shape, version=OPSET_VERSION
    )


def _over_channels(values: Tensor, x: Tensor) -> Tensor:
    return values.view(-1, *[1] * (x.dim() - 2))


def _prepare_sign(module: Any, name: str) -> None:
    if module.bits != 1:
        raise UnsupportedError(
            f"{name}: it computes other values than signs (bits={module.bits}); bake(network) makes it binary"
        )
    _keep(module, threshold=module.threshold.detach().clone())


def _sign(self: Any, x: Tensor) -> Tensor:
    return _node("Binarize", x, x.shape, _over_channels(self.threshold, x))


def _prepare_rprelu(module: Any, name: str) -> None:
    _keep(module, **{key: getattr(module, key).detach().clone() for key in ("shift_in", "slope", "shift_out")})


def _rprelu(self: Any, x: Tensor) -> Tensor:
    """Subtract, PReLU, add: in this order, which the runtime keeps."""
    bent = torch.nn.functional.prelu(x - _over_channels(self.shift_in, x), self.slope)
    return bent + _over_channels(self.shift_out, x)


def _prepare_layer(module: Any, name: str) -> None:
    signs, alpha = signs_and_scale(module, name)
    array = signs.numpy()
    packed = pack_conv_weight(array) if array.ndim == 4 else pack_signs(array)
    module.weight_shape = list(array.shape)
    _keep(
        module,
        weight=module.weight.detach(),
        packed_weight=torch.from_numpy(np.ascontiguousarray(packed)),
        scale=alpha.flatten().clone(),
        bias=torch.zeros(len(array)),
    )


def _conv2d(self: Any, x: Tensor) -> Tensor:
    spans = [d * (k - 1) + 1 for d, k in zip(self.dilation, self.kernel_size, strict=True)]
    if x.dim() != 4 or x.shape[1] != self.in_channels:
        raise UnsupportedError(f"a {type(self).__name__} takes [N, {self.in_channels}, H, W], not {list(x.shape)}")
    sizes = [(x.shape[2 + i] + 2 * self.padding[i] - spans[i]) // self.stride[i] + 1 for i in (0, 1)]
    geometry = {
        "weight_shape": self.weight_shape,
        "strides": list(self.stride),
        "pads": [*self.padding, *self.padding],
        "dilations": list(self.dilation),
        "group": self.groups,
    }
    if isinstance(self, BinaryWeightConv2d):
        name = "BinaryWeightConv2d"
    else:
        name = "BinaryConv2d"
        geometry["pad_value"] = float(self.pad_value)
    shape = (x.shape[0], self.out_channels, *sizes)
    return _node(name, x, shape, self.packed_weight, self.scale, self.bias, **geometry)


def _linear(self: Any, x: Tensor) -> Tensor:
    """One node over ``[N, K]``; other leading axes are folded into N around it."""
    if not x.dim() or x.shape[-1] != self.in_features:
        raise UnsupportedError(f"a {type(self).__name__} takes [..., {self.in_features}], not {list(x.shape)}")
    name = "BinaryWeightGemm" if isinstance(self, BinaryWeightLinear) else "BinaryGemm"
    rows = x if x.dim() == 2 else x.reshape(-1, self.in_features)
    shape = (rows.shape[0], self.out_features)
    result = _node(name, rows, shape, self.packed_weight, self.scale, self.bias, weight_shape=self.weight_shape)
    return result if x.dim() == 2 else result.reshape(*x.shape[:-1], self.out_features)


class _Law(NamedTuple):
    """``forward`` stands for a ``layer`` whose methods ``read`` are those of the class itself."""

    layer: type[nn.Module]
    read: tuple[str, ...]
    prepare: Callable[[Any, str], None]
    forward: Callable[[Any, Tensor], Tensor]


LAWS = (
    _Law(RSign, ("forward",), _prepare_sign, _sign),
    _Law(RPReLU, ("forward",), _prepare_rprelu, _rprelu),
    _Law(BinaryConv2d, ("forward", "product", "pad", "geometry"), _prepare_layer, _conv2d),
    _Law(BinaryLinear, ("forward", "product"), _prepare_layer, _linear),
)
"""How each layer of ours is carried; the weight-only layers are subclasses of two of them."""
