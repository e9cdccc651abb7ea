"""The vocabulary of :mod:`.random_networks`: a function draws one layer for samples of a shape, None if none fits."""

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from hypothesis import strategies as st
from torch import Tensor, nn

from latentbit.training import BinaryConv2d, BinaryLinear, RPReLU, RSign
from latentbit.training.layers.weight_only import BinaryWeightConv2d, BinaryWeightLinear

from .random_functions import FUNCTIONS, INPLACE
from .step import Step

__all__ = ["LAYERS"]

Shape = tuple[int, ...]
Draw = st.DrawFn
Layer = Callable[[Draw, Shape], nn.Module | None]


def one_of(draw: Draw, *values: Any) -> Any:
    return draw(st.sampled_from(values))


def axes_of(shape: Shape) -> int:
    """Return how many axes an image or a sequence has behind its channels."""
    return len(shape) - 1


def _divisors(number: int) -> list[int]:
    return [n for n in range(1, number + 1) if number % n == 0]


def convolution(draw: Draw, shape: Shape) -> nn.Module | None:
    """Draw a convolution of any kind."""
    rank = axes_of(shape)
    kernel = tuple(one_of(draw, 1, 2, 3, 5) for _ in range(rank))
    dilation = one_of(draw, 1, 1, 2)
    groups = one_of(draw, 1, *_divisors(shape[0]))
    stride = one_of(draw, 1, 1, 2, 3)
    padding: Any = one_of(draw, "same", "valid", *[tuple(one_of(draw, 0, 1, 2) for _ in range(rank))] * 3)
    if padding == "same":
        stride = 1
    mode = one_of(draw, *["zeros"] * 4, "reflect", "replicate", "circular")
    if min(shape[1:]) < dilation * (max(kernel) - 1) + 1 or (mode != "zeros" and min(shape[1:]) <= 4):
        return None
    kind = nn.Conv2d if rank == 2 else nn.Conv1d
    return kind(  # type: ignore[no-any-return]
        shape[0], groups * one_of(draw, 1, 2, 4), kernel, stride, padding, dilation, groups,
        bias=one_of(draw, True, False), padding_mode=mode,
    )  # fmt: skip


def transposed(draw: Draw, shape: Shape) -> nn.Module | None:
    """Draw a transposed convolution."""
    stride = one_of(draw, 1, 2)
    kind = nn.ConvTranspose2d if axes_of(shape) == 2 else nn.ConvTranspose1d
    extra = one_of(draw, 0, stride - 1)
    return kind(shape[0], one_of(draw, 2, 4), one_of(draw, 2, 3), stride, one_of(draw, 0, 1), extra)  # type: ignore[no-any-return]


def norm(draw: Draw, shape: Shape) -> nn.Module | None:
    """Draw a norm that fits."""
    batch = (nn.BatchNorm1d, nn.BatchNorm1d, nn.BatchNorm2d)[axes_of(shape)](shape[0])
    group = nn.GroupNorm(one_of(draw, *_divisors(shape[0])), shape[0])
    layer = nn.LayerNorm(shape[-one_of(draw, *range(1, len(shape) + 1)) :])
    crowded = [one for one in (group, layer) if math.prod(shape) > 8 * shape[0]]
    if len(shape) > 1 and math.prod(shape[1:]) > 8:
        crowded.append(
            (nn.InstanceNorm1d, nn.InstanceNorm2d)[axes_of(shape) - 1](shape[0], affine=one_of(draw, True, False))
        )
    return one_of(draw, batch, batch, *crowded)  # type: ignore[no-any-return]


MODULES = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.Hardswish, nn.Hardsigmoid, nn.SiLU, nn.GELU, nn.ELU, nn.SELU, nn.CELU,
    nn.Mish, nn.Softplus, nn.Tanh, nn.Sigmoid, nn.Hardtanh, nn.Softsign, nn.LogSigmoid, nn.Tanhshrink, nn.Identity,
    nn.Hardshrink, nn.Softshrink, nn.Dropout,
)  # fmt: skip


def activation(draw: Draw, shape: Shape) -> nn.Module | None:
    """Draw an activation, as a module."""
    kind = one_of(draw, *MODULES)
    if kind is nn.PReLU:
        return nn.PReLU(one_of(draw, 1, shape[0]))
    lasting = kind in (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.Hardswish, nn.SiLU, nn.ELU, nn.Dropout, nn.Hardtanh)
    return kind(inplace=True) if lasting and one_of(draw, True, False) else kind()  # type: ignore[no-any-return]


def function(draw: Draw, shape: Shape) -> nn.Module | None:
    """Draw an activation or other arithmetic, as a function."""
    return Step(one_of(draw, *FUNCTIONS))


def inplace(draw: Draw, shape: Shape) -> nn.Module | None:
    """Draw in-place work whose input is read again."""
    return Step(one_of(draw, *INPLACE))


def pool(draw: Draw, shape: Shape) -> nn.Module | None:
    """Draw a pool with every option."""
    rank = axes_of(shape)
    kernel = one_of(draw, 2, 3)
    options = {"stride": one_of(draw, 1, 2, 3), "padding": one_of(draw, 0, 1), "ceil_mode": one_of(draw, True, False)}
    if min(shape[1:]) < kernel:
        return None
    if one_of(draw, True, False):
        return (nn.MaxPool1d, nn.MaxPool2d)[rank - 1](kernel, **options)
    return (nn.AvgPool1d, nn.AvgPool2d)[rank - 1](kernel, **options, count_include_pad=one_of(draw, True, False))


def adaptive(draw: Draw, shape: Shape) -> nn.Module | None:
    """Draw an adaptive pool whose size divides, for torch's exporter writes no other."""
    sizes = tuple(one_of(draw, 1, *_divisors(size)) for size in shape[1:])
    average = one_of(draw, True, True, False)
    kinds = (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d) if average else (nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d)
    return kinds[len(sizes) - 1](sizes if len(sizes) > 1 else sizes[0])


def resize(draw: Draw, shape: Shape) -> nn.Module | None:
    """Draw an interpolation by a factor or to a size, dividing or not."""
    mode = one_of(draw, "nearest", "bilinear" if len(shape) == 3 else "linear", "nearest-exact")
    options: dict[str, Any] = {"mode": mode}
    if "linear" in mode:
        options["align_corners"] = one_of(draw, True, False)
    if one_of(draw, True, False):
        options["scale_factor"] = one_of(draw, 2, 1.5, 0.6, 0.5)
    else:
        options["size"] = tuple(one_of(draw, 3, 5, 13, 2 * size) for size in shape[1:])
    if options.get("scale_factor", 1) * min(shape[1:]) < 1:
        return None
    return Step(lambda x: F.interpolate(x, **options))


def pad(draw: Draw, shape: Shape) -> nn.Module | None:
    """Draw padding of any mode."""
    mode = one_of(draw, "constant", "reflect", "replicate", "circular")
    if min(shape[1:]) < 3:
        return None
    sizes = tuple(one_of(draw, 0, 1, 2) for _ in range(2 * axes_of(shape)))
    return Step(lambda x: F.pad(x, sizes, mode=mode))


def channels(draw: Draw, shape: Shape) -> nn.Module | None:
    """Draw what moves channels: concatenation, chunks, shuffles, slices."""
    groups = one_of(draw, *_divisors(shape[0]))
    rest = shape[1:]
    return Step(
        one_of(
            draw,
            lambda x: torch.cat([x, x.abs()], 1),
            lambda x: torch.cat(x.chunk(groups, 1)[::-1], 1),
            lambda x: torch.cat(x.split([1, shape[0] - 1] if shape[0] > 1 else [1], 1)[::-1], 1),
            lambda x: x.view(-1, groups, shape[0] // groups, *rest).transpose(1, 2).reshape(x.shape[0], -1, *rest),
            lambda x: x.unflatten(1, (groups, -1)).mean(1),
            lambda x: x[:, ::2],
            lambda x: x.index_select(1, torch.arange(shape[0] - 1, -1, -1)),
            lambda x: torch.stack([x, x * 2], 2).flatten(1, 2),
            lambda x: x.repeat(1, 2, *[1] * len(rest)),
        )
    )


def reshape(draw: Draw, shape: Shape) -> nn.Module | None:
    """Draw what changes the axes of an image or sequence."""
    more: list[Callable[[Tensor], Tensor]] = [
        lambda x: x.flatten(1),
        lambda x: x.view(x.size(0), -1),
        lambda x: x.reshape(-1, math.prod(shape)),
        lambda x: x.transpose(1, -1).contiguous(),
        lambda x: x.mean(-1),
        lambda x: x.amax(dim=1),
        lambda x: x.mean(-1, keepdim=True).squeeze(-1),
        lambda x: x.sum(1, keepdim=True).squeeze(1),
        lambda x: x.squeeze(1),
    ]
    if len(shape) == 3:
        more += [
            lambda x: x.flatten(2),
            lambda x: x.permute(0, 2, 3, 1),
            lambda x: x.mean((2, 3)),
            lambda x: F.avg_pool2d(x, x.shape[2:]).flatten(1),
            lambda x: x.flatten(2).transpose(1, 2),
            lambda x: x.std(dim=(2, 3), keepdim=True) + x,
        ]
    else:
        more += [lambda x: x.unsqueeze(1), lambda x: x.unsqueeze(-1), lambda x: x @ x.transpose(1, 2) / x.shape[-1]]
    return Step(one_of(draw, *more))


def residual(draw: Draw, shape: Shape) -> nn.Module | None:
    """Draw a residual block around a binary or float convolution."""
    inner = one_of(draw, binary, binary, gate, rows)(draw, shape)
    if inner is None:
        return None
    with torch.no_grad():
        if inner.eval()(torch.zeros(1, *shape)).shape[1:] != shape:
            return None
    return Step(lambda x, part: x + part(x), inner)


def gate(draw: Draw, shape: Shape) -> nn.Module | None:
    """Draw a gate: channels are multiplied with what a dense layer says of them."""
    wide = len(shape) - 1
    squash = one_of(draw, torch.sigmoid, F.hardsigmoid, torch.tanh)
    return Step(
        lambda x, part: x * squash(part(x.flatten(2).mean(2) if wide else x)).view(-1, shape[0], *[1] * wide),
        nn.Linear(shape[0], shape[0]),
    )


def binary(draw: Draw, shape: Shape) -> nn.Module | None:
    """Draw a binary layer of ours with its sign, in front of a norm, an RPReLU, or nothing."""
    count = shape[0]
    if len(shape) == 2:
        return None
    weight_only = one_of(draw, False, False, False, True)
    if len(shape) == 1:
        made = one_of(draw, count, 12)
        layer: nn.Module = (BinaryWeightLinear if weight_only else BinaryLinear)(count, made)
    else:
        kernel, groups = one_of(draw, 1, 3), one_of(draw, 1, 1, *_divisors(count))
        made = one_of(draw, groups * max(1, count // groups), groups * 4)
        options = {"padding": kernel // 2, "groups": groups, "stride": one_of(draw, 1, 1, 2)}
        layer = (BinaryWeightConv2d if weight_only else BinaryConv2d)(count, made, kernel, **options)
    flat = len(shape) == 1
    more: list[nn.Module] = (
        [nn.BatchNorm1d(made) if flat else nn.BatchNorm2d(made)] if one_of(draw, True, True, False) else []
    )
    more += [RPReLU(made)] if one_of(draw, True, False) else []
    return nn.Sequential(*([] if weight_only else [RSign(count)]), layer, *more)


def rows(draw: Draw, shape: Shape) -> nn.Module | None:
    """Draw a dense layer over the last axis, with leading axes or without."""
    return nn.Linear(shape[-1], one_of(draw, shape[-1], 5, 8), bias=one_of(draw, True, False))


def recurrent(draw: Draw, shape: Shape) -> nn.Module | None:
    """Draw a recurrent or attention layer over a sequence."""
    kind = one_of(draw, nn.LSTM, nn.GRU, nn.RNN)
    layer = kind(shape[1], 4, batch_first=True, bidirectional=one_of(draw, True, False))
    if shape[1] % 2 == 0 and one_of(draw, True, False):
        return Step(lambda x, part: part(x, x, x)[0], nn.MultiheadAttention(shape[1], 2, batch_first=True))
    return Step(lambda x, part: part(x)[0], layer)


def unflatten(draw: Draw, shape: Shape) -> nn.Module | None:
    """Draw a way from a row to a sequence or an image."""
    first = one_of(draw, *_divisors(shape[0]))
    second = one_of(draw, *_divisors(shape[0] // first))
    sizes = one_of(draw, (first, -1), (first, second, -1))
    return Step(one_of(draw, lambda x: x.unflatten(1, sizes), lambda x: x.view(x.shape[0], *sizes)))


_EVERYWHERE: list[Layer] = [*[activation, function, norm] * 2, inplace, channels, rows, gate, residual]
_SPREAD: list[Layer] = [*_EVERYWHERE, *[convolution] * 3, transposed, *[pool] * 2, adaptive, resize, pad, reshape]

LAYERS: dict[int, list[Layer]] = {
    1: [*_EVERYWHERE, binary, binary, binary, rows, unflatten, unflatten],
    2: [*_SPREAD, recurrent],
    3: [*_SPREAD, binary, binary, binary, binary],
}
"""By the number of axes of a sample: what may come next."""
