"""Inputs, targets and outputs that are tensors, or tuples, dicts and lists of them."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_map_only, tree_unflatten

from ...runtime.errors import ConfigError, UnsupportedError

__all__ = ["Part", "cloned", "detached", "mixed"]


def cloned(inputs: Any) -> Any:
    """Return copies of the tensors in ``inputs``: a forward pass may change its input in place."""
    return tree_map_only(Tensor, torch.clone, inputs)


def detached(outputs: Any) -> Any:
    """Return outputs through which no gradient goes."""
    return tree_map_only(Tensor, Tensor.detach, outputs)


def mixed(binary: Any, latent: Any, weight: Tensor) -> Any:
    """Return (1 − weight)·binary + weight·latent of each tensor; UnsupportedError if there is something else."""
    own, form = tree_flatten(binary)
    other, same = tree_flatten(latent)
    if form != same or not all(isinstance(leaf, Tensor) and leaf.is_floating_point() for leaf in (*own, *other)):
        raise UnsupportedError(
            "L5 mixes the outputs of both streams, and these hold more than tensors of floats: use L1"
        )
    return tree_unflatten([(1 - weight) * a + weight * b for a, b in zip(own, other, strict=True)], form)


class Part:
    """The first ``share`` of a batch.

    The rows of the batch are those of the first tensor in ``inputs``; all that is parted must have as many.
    """

    def __init__(self, inputs: Any, share: float) -> None:
        self.whole, self.rows, self.count = share >= 1, 0, 0
        if not self.whole:
            tensors = [leaf for leaf in tree_flatten(inputs)[0] if isinstance(leaf, Tensor) and leaf.dim()]
            self.rows = len(tensors[0]) if tensors else 0
            self.count = math.ceil(share * self.rows)

    def of(self, value: Any, name: str) -> Any:
        """Return the part of ``value``: ``[N, …]`` to ``[ceil(share·N), …]``; ConfigError if its rows are unknown."""
        if self.whole or value is None:
            return value
        leaves, form = tree_flatten(value)
        if _holds_list(value) or not all(isinstance(x, Tensor) and x.dim() and len(x) == self.rows for x in leaves):
            raise ConfigError(
                f"train.latent_share below 1 takes the first rows of the {name}: they must be tensors whose first axis"
                f" is the batch of {self.rows}, alone or in tuples and dicts"
            )
        return tree_unflatten([leaf[: self.count] for leaf in leaves], form)


def _holds_list(value: Any) -> bool:
    """Return whether there is a list in ``value``, which may well hold one thing for each image."""
    if isinstance(value, tuple | dict):
        return any(_holds_list(part) for part in (value.values() if isinstance(value, dict) else value))
    return isinstance(value, list)
