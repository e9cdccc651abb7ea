"""Operators that torch's ONNX exporter has no form for, or not for all sizes, in terms of others that it has."""

from collections.abc import Callable
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from ...runtime.errors import UnsupportedError, first_line

__all__ = ["decompose"]

_ops = torch.ops.aten
"""The functions below have the arguments of one of these. They return NotImplemented where it is to stay."""


def decompose(program: torch.export.ExportedProgram) -> torch.export.ExportedProgram:
    """Return ``program`` without the operators of :data:`_TABLE`; those whose sizes have another form stay.

    Raises UnsupportedError for one that has no form for these sizes.
    """
    used = {node.target for node in program.graph.nodes}
    table = {operator: function for operator, function in _TABLE.items() if operator in used}
    try:
        return program.run_decompositions(table) if table else program
    except UnsupportedError as error:  # torch adds where it was in its own code
        raise UnsupportedError(first_line(error)) from None


def _adaptive_avg_pool2d(x: Tensor, output_size: list[int]) -> Any:
    """Windows that depend on a symbolic size, as products with the matrices of their means; of a fixed size they stay.

    Window i of n over a size s begins at floor(i·s/n) and ends at ceil((i + 1)·s/n), as torch defines it.
    """
    sizes = list(x.shape[-2:])
    if list(output_size) == [1, 1] or all(isinstance(size, int) for size in sizes):
        return NotImplemented

    def means(size: int, count: int) -> Tensor:
        window, place = torch.arange(count).unsqueeze(1), torch.arange(size).unsqueeze(0)
        inside = (place >= window * size // count) & (place < ((window + 1) * size + count - 1) // count)
        return inside.float() / inside.float().sum(1, keepdim=True)

    rows, columns = (means(size, count) for size, count in zip(sizes, output_size, strict=True))
    return rows @ x @ columns.T


def _adaptive_max_pool2d(x: Tensor, output_size: list[int]) -> Any:
    """Windows of one size, if the sizes divide; the maximum of all, if one value is asked for.

    Raises UnsupportedError for windows that depend on a symbolic size.
    """
    if list(output_size) == [1, 1]:
        flat = x.flatten(-2)
        return flat.amax(-1)[..., None, None], flat.argmax(-1)[..., None, None]
    sizes = list(x.shape[-2:])
    if not all(isinstance(size, int) for size in sizes):
        raise UnsupportedError(
            "adaptive max pools to more than one value need a fixed image size: leave out dynamic_spatial"
        )
    if not all(size % out == 0 for size, out in zip(sizes, output_size, strict=True)):
        return NotImplemented
    window = [size // out for size, out in zip(sizes, output_size, strict=True)]
    return _ops.max_pool2d_with_indices(x, window, window)


def _adaptive_max_pool1d(x: Tensor, output_size: list[int]) -> Any:
    """The same over images of one row."""
    found = _adaptive_max_pool2d(x.unsqueeze(-2), [1, *output_size])
    return found if found is NotImplemented else tuple(part.squeeze(-2) for part in found)


def _attention(query: Tensor, key: Tensor, value: Tensor, *others: Any, **options: Any) -> Any:
    """Attention of ``[N, T, K]``: the same with one head."""
    if query.dim() != 3:
        return NotImplemented
    mask = others[0] if others else options.get("attn_mask")
    if mask is not None and mask.dim() == 3:
        others, options = others[1:], {**options, "attn_mask": mask.unsqueeze(1)}
    if others and "attn_mask" in options:
        return NotImplemented
    heads = (tensor.unsqueeze(1) for tensor in (query, key, value))
    return _ops.scaled_dot_product_attention(*heads, *others, **options).squeeze(1)


def _rrelu(x: Tensor, lower: float = 1 / 8, upper: float = 1 / 3, training: bool = False, *_: Any) -> Any:
    """In eval mode the slope is the mean of both ends."""
    if training:
        return NotImplemented
    return torch.nn.functional.leaky_relu(x, (lower + upper) / 2)


_TABLE: MappingProxyType[Any, Callable[..., Any]] = MappingProxyType(
    {
        _ops.adaptive_avg_pool2d.default: _adaptive_avg_pool2d,
        _ops.adaptive_max_pool1d.default: _adaptive_max_pool1d,
        _ops.adaptive_max_pool2d.default: _adaptive_max_pool2d,
        _ops.rrelu.default: _rrelu,
        _ops.scaled_dot_product_attention.default: _attention,
    }
)
