"""The hand-over to export: a torch network becomes an onnx-ir model.

``export_onnx`` of :mod:`latentbit.export` calls :func:`read_module` for any ``torch.nn.Module``.
"""

import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ...export.frontend.finishing import finish
from ...runtime.errors import InputError, UnsupportedError
from .pixels import Pixels, check_pixels
from .program import read_program

__all__ = ["read_module"]


def read_module(
    network: nn.Module,
    example_input: Tensor | NDArray[Any] | Sequence[Tensor | NDArray[Any]],
    *,
    pixels: Pixels | None = None,
    exact_stem: bool = False,
    int8_weights: bool = False,
    dynamic_spatial: bool = False,
    output_name: str = "logits",
    top_k: int = 0,
    labels: Sequence[str] | None = None,
) -> ir.Model:
    """Turn a torch network into an onnx-ir model.

    The options are those of :func:`latentbit.export.export_onnx`, which hands them on; with ``pixels`` the example is a
    uint8 image ``[N, H, W, C]``. Names in the model are module paths.
    """
    for path, module in network.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            name = path or type(network).__name__
            raise UnsupportedError(f"{name}: TorchScript cannot be exported; give the module that it was made of")
    if exact_stem and pixels is None:
        raise UnsupportedError("an exact stem reads pixels: pass pixels=Pixels(mean, std, range) as well")
    examples = _examples(example_input, _argument_names(network, example_input))
    if pixels is not None:
        pixels = check_pixels(pixels)
        if len(examples) != 1 or examples[0].dim() != 4:
            raise UnsupportedError("pixels as input need a network of one input and an example [N, H, W, C]")
        examples = [examples[0].permute(0, 3, 1, 2).float()]
    program = read_program(network, examples, dynamic_spatial=dynamic_spatial, output_name=output_name)
    return finish(program, pixels=pixels, exact_stem=exact_stem, int8_weights=int8_weights, top_k=top_k, labels=labels)


def _argument_names(network: nn.Module, given: Any) -> list[str]:
    """Return the names of the arguments that ``forward`` needs, and of as many others as are given."""
    parameters = inspect.signature(network.forward).parameters.values()
    plain = [one for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    needed = [one.name for one in plain if one.default is one.empty]
    count = len(given) if isinstance(given, Sequence) else 1
    spread = [f"{one.name}{i}" for one in parameters if one.kind is one.VAR_POSITIONAL for i in range(count)]
    return [*needed, *[*[one.name for one in plain][len(needed) :], *spread][: max(0, count - len(needed))]]


def _examples(example_input: Any, names: Sequence[str]) -> list[Tensor]:
    """Return one tensor with a batch axis for each input of the network; InputError for anything else."""
    single = isinstance(example_input, Tensor | np.ndarray)
    given = [example_input] if single else example_input
    if not isinstance(given, Sequence) or not all(isinstance(entry, Tensor | np.ndarray) for entry in given):
        raise InputError(f"example_input is a {type(given).__name__}; give a tensor or array for {', '.join(names)}")
    if len(given) != len(names):
        raise InputError(f"example_input holds {len(given)} arrays, the network takes {len(names)}: {', '.join(names)}")
    for name, entry in zip(names, given, strict=True):
        if not entry.ndim or not all(entry.shape):
            raise InputError(f"example_input for {name} has shape {list(entry.shape)}; give at least one sample")
    try:
        return [torch.as_tensor(entry) for entry in given]
    except TypeError as error:
        raise InputError(f"example_input holds what torch cannot: {error}") from None
