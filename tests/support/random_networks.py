"""Networks composed at random of torch's vocabulary, layer after layer, for tests that compare what is made of them.

Hypothesis draws the layers, so that a network that fails is made smaller by itself.
"""

from collections.abc import Callable
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from latentbit.training import RPReLU, RSign

from .random_layers import LAYERS
from .step import Step

__all__ = ["Random", "networks"]

SHAPES = ((3, 9, 8), (4, 6, 11), (8, 7, 7), (2, 12), (6, 9), (10,), (16,))
"""Of one sample: images, sequences, rows."""

_LARGEST = 4_000
"""Values of a sample: a layer that would make more of them is left out."""


class Random(nn.Module):
    """Layers one after another; ``form`` is what it returns: the last result, or others besides, in a tuple or dict."""

    def __init__(self, layers: list[nn.Module], form: str) -> None:
        super().__init__()
        self.layers, self.form = nn.ModuleList(layers), form

    def forward(self, x: Tensor) -> Any:
        middle = x * 1.0
        for number, layer in enumerate(self.layers):
            x = layer(x)
            if number == len(self.layers) // 2:
                middle = x
        if self.form == "tensor":
            return x
        return (x, middle) if self.form == "tuple" else {"last": x, "nested": [middle * 2.0, x.mean()[None] * 0 + x]}


@st.composite
def networks(draw: st.DrawFn, longest: int = 7) -> tuple[nn.Module, Tensor]:
    """Return a network in eval mode with values as after training, and one or two samples for it."""
    shape = draw(st.sampled_from(SHAPES))
    torch.manual_seed(draw(st.integers(0, 2**16)))
    example = torch.randn(draw(st.sampled_from((2, 2, 1))), *shape)
    layers: list[nn.Module] = []
    value = example
    for _ in range(draw(st.integers(longest // 3, longest))):
        fitting: list[Callable[[st.DrawFn, tuple[int, ...]], nn.Module | None]] = LAYERS[value.dim() - 1]
        layer = draw(st.sampled_from(fitting))(draw, tuple(value.shape[1:]))
        if layer is None:
            continue
        settle(layer)
        with torch.no_grad():
            after = layer(value.clone())
        if after[0].numel() <= _LARGEST and after.dim() <= 4 and bool((after.abs() < 1e4).all()):
            layers.append(layer)
            value = after
    return Random(layers or [Step(torch.neg)], draw(st.sampled_from(("tensor", "tuple", "dict")))).eval(), example


def settle(module: nn.Module) -> None:
    """Give norms and learned shifts values as after training, and infer."""
    for part in module.modules():
        if isinstance(part, _BatchNorm) and part.running_mean is not None and part.running_var is not None:
            part.running_mean.normal_(0, 0.3)
            part.running_var.uniform_(0.5, 2)
            nn.init.normal_(part.weight)
            nn.init.normal_(part.bias)
        if isinstance(part, RPReLU | RSign):
            for parameter in part.parameters():
                nn.init.normal_(parameter, 0, 0.2)
    module.eval()
