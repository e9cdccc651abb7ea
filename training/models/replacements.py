"""The modules that take the place of float layers in :mod:`.binarize`.

A replacement holds a layer's sign with its thresholds, the binary layer and a batch norm where none follows. It also
answers to what code reads of a layer: ``weight``, ``bias``, ``in_features``, ``stride`` and the like.
"""

from typing import Any

import torch
from torch import Tensor, nn

from ..layers.binary import BinaryConv2d, BinaryLinear, RSign
from ..layers.weight_only import BinaryWeightConv2d, BinaryWeightLinear

__all__ = ["Binarized", "become", "convolution", "dense"]

_PADDINGS: dict[str, Any] = {
    "circular": nn.CircularPad2d,
    "reflect": nn.ReflectionPad2d,
    "replicate": nn.ReplicationPad2d,
}


class Binarized(nn.Sequential):
    """Sign, binary layer and norm in the place of a Conv2d, or of a Linear over ``[N, K]``."""

    bias = None

    @property
    def weight(self) -> Tensor:
        """W, in the shape that the float layer's weight has."""
        found: Tensor = self.binary_layer().weight
        return found

    def binary_layer(self) -> Any:
        """Return the binary layer inside."""
        return self.conv if "conv" in self._modules else self.dense


class _Rows(Binarized):
    """The same for a Linear over ``[..., K]``: every row of K values is one sample."""

    def forward(self, input: Tensor) -> Tensor:
        """``[..., K]`` to ``[..., O]``."""
        rows: Tensor = super().forward(input.flatten(0, -2))  # type: ignore[no-untyped-call]
        return torch.unflatten(rows, 0, input.shape[:-1])


class _Conv1d(Binarized):
    """The same for a Conv1d: a convolution of images of one row."""

    @property
    def weight(self) -> Tensor:
        """W as ``[O, C, K]``."""
        found: Tensor = self.binary_layer().weight
        return found.squeeze(2)

    def forward(self, input: Tensor) -> Tensor:
        """``[N, C, L]`` to ``[N, O, L']``."""
        images: Tensor = super().forward(input.unsqueeze(2))  # type: ignore[no-untyped-call]
        return images.squeeze(2)


def convolution(layer: nn.Conv1d | nn.Conv2d, weight: nn.Parameter, *, pad_value: int, weight_only: bool) -> Binarized:
    """Return the replacement of a convolution over ``weight`` ``[O, C, KH, KW]``, with all its parts.

    ``padding="same"`` with an even kernel pads one place more behind than before: the binary layer pads as much on both
    sides, and the first row or column of its result is cut off. Other padding modes repeat values of the image, so
    padding before the sign is the same as padding behind it.
    """
    lift = (0,) if isinstance(layer, nn.Conv1d) else ()
    margins = [(0, 0)] * len(lift) + _margins(layer)
    repeat = _PADDINGS.get(layer.padding_mode)
    geometry: dict[str, Any] = {
        "stride": (*(1 for _ in lift), *layer.stride),
        "padding": (0, 0) if repeat else tuple(behind for _, behind in margins),
        "dilation": (*(1 for _ in lift), *layer.dilation),
        "groups": layer.groups,
    }
    sizes = (layer.in_channels, layer.out_channels, tuple(weight.shape[2:]))
    parts = _Conv1d() if lift else Binarized()
    (top, bottom), (left, right) = margins
    if repeat and any((left, right, top, bottom)):
        parts.add_module("pad", repeat((left, right, top, bottom)))
    if weight_only:
        binary: BinaryConv2d = BinaryWeightConv2d(*sizes, **geometry)
    else:
        parts.add_module("sign", RSign(layer.in_channels))
        binary = BinaryConv2d(*sizes, **geometry, pad_value=pad_value)
    binary.weight = weight
    parts.add_module("conv", binary)
    if not repeat and (top, left) != (bottom, right):
        parts.add_module("cut", nn.ZeroPad2d((left - right, 0, top - bottom, 0)))
    parts.add_module("norm", nn.BatchNorm2d(layer.out_channels))
    return parts


def dense(layer: nn.Linear, weight: nn.Parameter, *, rows: bool, weight_only: bool) -> Binarized:
    """Return the replacement of a linear layer, with all its parts; ``rows`` where there are several leading axes."""
    parts = _Rows() if rows else Binarized()
    if not weight_only:
        parts.add_module("sign", RSign(layer.in_features))
    binary = (BinaryWeightLinear if weight_only else BinaryLinear)(layer.in_features, layer.out_features)
    binary.weight = weight
    parts.add_module("dense", binary)
    parts.add_module("norm", nn.BatchNorm1d(layer.out_features))
    return parts


def become(module: nn.Module, other: nn.Module) -> None:
    """Turn ``module`` into ``other``, in place, with the mode and the hooks that it has.

    In place, because a network may refer to a layer in several ways: under two paths, in a plain list, in a hook.
    """
    hooks = {name: value for name, value in vars(module).items() if "_hook" in name and "state_dict" not in name}
    constants = {name: getattr(module, name) for name in getattr(module, "__constants__", ()) if hasattr(module, name)}
    state = {**constants, **vars(other.train(module.training)), **hooks}
    module.__class__ = type(other)
    vars(module).clear()
    vars(module).update(state)


def _margins(layer: nn.Conv1d | nn.Conv2d) -> list[tuple[int, int]]:
    """Return the padding before and behind each axis."""
    if layer.padding == "same":
        totals = [reach * (size - 1) for reach, size in zip(layer.dilation, layer.kernel_size, strict=True)]
        return [(total // 2, total - total // 2) for total in totals]
    if layer.padding == "valid":
        return [(0, 0) for _ in layer.kernel_size]
    return [(int(size), int(size)) for size in layer.padding]
