"""Holding a module without owning it."""

from typing import Generic, TypeVar

from torch import nn

__all__ = ["Unregistered"]

Held = TypeVar("Held", bound=nn.Module)


class Unregistered(Generic[Held]):
    """Holds ``module`` for a module that uses it and does not own it.

    ``nn.Module`` registers every module that is set as an attribute: its parameters would count twice, and appear under
    a second name in the state. It does not look into this object.
    """

    def __init__(self, module: Held) -> None:
        self.module = module
