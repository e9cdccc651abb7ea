"""Tracing a network with ``torch.fx``: one tracer for the latent branch and for the hand-over to export."""

import torch.fx
from torch import nn

from ...runtime.errors import UnsupportedError
from .binary import BinaryConv2d, BinaryLinear, RPReLU, RSign

__all__ = ["Tracer", "trace"]

LEAF_LAYERS = (BinaryConv2d, BinaryLinear, RPReLU, RSign)
"""Our layers stay whole in a traced graph, like those of ``torch.nn``."""


class Tracer(torch.fx.Tracer):
    """A tracer that keeps our layers, and whatever ``torch.fx`` keeps, as single nodes."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Keep our layers whole."""
        return isinstance(m, LEAF_LAYERS) or super().is_leaf_module(m, module_qualified_name)


def trace(network: nn.Module, tracer: Tracer | None = None) -> torch.fx.GraphModule:
    """Return the graph of ``network``; parameters and modules are shared with it, not copied.

    UnsupportedError if the forward pass depends on the values or shapes of its input in Python.
    """
    try:
        graph = (tracer or Tracer()).trace(network)
    except (torch.fx.proxy.TraceError, TypeError, NotImplementedError) as error:
        raise UnsupportedError(
            f"{type(network).__name__} cannot be traced with torch.fx: {error}; keep Python control flow that depends"
            " on tensors out of forward()"
        ) from error
    return torch.fx.GraphModule(network, graph, type(network).__name__)
