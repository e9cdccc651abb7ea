"""A network in one line: a function of its input and of the modules that it holds."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

__all__ = ["Step"]


class Step(nn.Module):
    """``function(x, *parts)``; the modules are parts of it."""

    def __init__(self, function: Callable[..., Any], *parts: nn.Module) -> None:
        super().__init__()
        self.function, self.parts = function, nn.ModuleList(parts)

    def forward(self, x: Tensor) -> Any:
        return self.function(x, *self.parts)
