"""A torch module becomes an ONNX graph: ``torch.export`` reads it, torch's exporter writes it, our layers stay whole.

In-place work, control flow on shapes, dict and tuple outputs, several inputs and functional calls are torch's business.
What is left is to ask for symbolic sizes, to name inputs and outputs, and to say in one line what torch cannot do.
"""

import contextlib
import copy
import inspect
import io
import logging
import warnings
from collections.abc import Sequence
from typing import Any

import onnx_ir as ir
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.export.graph_signature import ConstantArgument, OutputKind, TensorArgument
from torch.utils import _pytree as pytree

from ...export.frontend.finishing import OPSET, Program
from ...runtime.errors import InputError, LatentbitError, UnsupportedError, first_line
from .carried import carried_weights, carry
from .decompositions import decompose

__all__ = ["read_program"]

_DIVISORS = (torch.ops.aten.avg_pool2d.default, torch.ops.aten.avg_pool3d.default)
DIVISOR = 6
"""Where the arguments of these hold ``divisor_override``, which torch's ONNX exporter does not read."""

NARROW = (torch.float16, torch.bfloat16, torch.float64)
"""Kinds of parameters that are exported as float32, the one kind of number that the operators know."""


def read_program(
    network: nn.Module, examples: Sequence[Tensor | NDArray[Any]], *, dynamic_spatial: bool, output_name: str
) -> Program:
    """Return a network as a graph of standard operators and ours, not folded yet; the network is left as it is.

    examples: one tensor or array an argument of ``forward``. The batch becomes ``"N"``, with ``dynamic_spatial`` the
    sizes of images ``[N, C, H, W]`` ``"H"`` and ``"W"``. Parameters of another kind of float become float32.

    Raises InputError where the examples do not fit the arguments, UnsupportedError where torch cannot export the
    network for every batch, it draws random numbers, or a batch norm has no running statistics.
    """
    _check_norms(network)
    copied = _copy(network)
    tensors = [_widened(torch.as_tensor(example)) for example in examples]
    if any(parameter.dtype in NARROW for parameter in copied.parameters()):
        copied = copied.float()
    leaves = {path for path, module in copied.named_modules() if not any(True for _ in module.children())}
    carry(copied)
    arguments = _arguments(copied, tensors)
    sizes = {name: pytree.tree_map(lambda t: _symbolic(t, dynamic_spatial), value) for name, value in arguments.items()}
    with warnings.catch_warnings(), _Quiet(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        program = _exported(copied, tuple(tensors), sizes)
        outputs = _output_names(program, output_name)
        model = _translated(decompose(program))
    carried_weights(model.graph)
    inputs = ["input"] if len(tensors) == 1 else [value.name or "" for value in model.graph.inputs]
    return Program(model, type(network).__name__, leaves, inputs, outputs)


def _check_norms(network: nn.Module) -> None:
    for path, module in network.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is None:
            raise UnsupportedError(
                f"{path or type(module).__name__}: a batch norm without running statistics cannot be folded"
            )


def _copy(network: nn.Module) -> nn.Module:
    """Return a copy on the CPU that infers; tensors that are computed from parameters (pruning) are copied by value."""
    computed = {
        id(value): value.detach().clone()
        for module in network.modules()
        for value in vars(module).values()
        if isinstance(value, Tensor) and value.grad_fn is not None
    }
    copied: nn.Module = copy.deepcopy(network, dict(computed))
    return copied.cpu().eval().requires_grad_(False)


def _widened(example: Tensor) -> Tensor:
    """Return an example in float32 (integers stay) with a batch of at least 2: torch takes a batch of 1 for fixed."""
    wide = example.detach().cpu()
    wide = wide.float() if wide.dtype in NARROW else wide
    return wide if wide.shape[0] > 1 else wide.repeat(2, *[1] * (wide.dim() - 1))


def _arguments(network: nn.Module, examples: list[Tensor]) -> dict[str, Any]:
    signature = inspect.signature(network.forward)
    try:
        return dict(signature.bind(*examples).arguments)
    except TypeError:
        needed = [
            name
            for name, parameter in signature.parameters.items()
            if parameter.default is parameter.empty and parameter.kind is not parameter.VAR_KEYWORD
        ]
        raise InputError(
            f"example_input holds {len(examples)} arrays, the network takes {len(needed)}: {', '.join(needed)}"
        ) from None


def _symbolic(example: Tensor, dynamic_spatial: bool) -> dict[int, Any]:
    axes = [0, 2, 3] if dynamic_spatial and example.dim() == 4 else [0]
    return dict.fromkeys(axes, torch.export.Dim.DYNAMIC)


def _exported(network: nn.Module, examples: tuple[Tensor, ...], sizes: dict[str, Any]) -> torch.export.ExportedProgram:
    try:
        with torch.no_grad():
            network(*copy.deepcopy(examples))
    except LatentbitError:
        raise
    except Exception as error:
        shapes = ", ".join(str(list(example.shape)) for example in examples)
        what = f"an input of shape {shapes}"
        raise UnsupportedError(f"the network does not accept {what}: {first_line(error)}") from error
    try:
        with torch.no_grad():
            program = torch.export.export(network, examples, dynamic_shapes=sizes, strict=False)
    except LatentbitError:
        raise
    except Exception as error:
        if "Constraints violated" in str(error):
            raise UnsupportedError(
                "the network does not accept an input of another batch or image size; "
                "write -1 or x.shape for the sizes that forward() states as numbers"
            ) from error
        raise UnsupportedError(f"torch.export cannot read {type(network).__name__}: {first_line(error)}") from error
    for node in program.graph.nodes:
        if node.target in _DIVISORS and len(node.args) > DIVISOR and node.args[DIVISOR] is not None:
            raise UnsupportedError(f"{node.name}: divisor_override has no form in ONNX; multiply the average instead")
    return program


def _translated(program: torch.export.ExportedProgram) -> ir.Model:
    try:
        done = torch.onnx.export(program, dynamo=True, opset_version=OPSET, optimize=False, verbose=False)
    except Exception as error:
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        raise UnsupportedError(f"torch's ONNX exporter cannot write the network: {first_line(cause)}") from error
    assert done is not None
    return done.model


def _output_names(program: torch.export.ExportedProgram, name: str) -> list[str]:
    """Return ``name`` for a tensor, ``name.0``, ``name.1`` for a tuple, the keys for a dict, with dots where nested.

    An output that is None has none; UnsupportedError for one that is no tensor.
    """
    spec = program.call_spec.out_spec
    assert spec is not None
    leaves = [one.arg for one in program.graph_signature.output_specs if one.kind == OutputKind.USER_OUTPUT]
    paths = pytree.tree_flatten_with_path(pytree.tree_unflatten(leaves, spec))[0]
    names = []
    for path, leaf in paths:
        if isinstance(leaf, ConstantArgument) and leaf.value is None:
            continue
        parts = [str(getattr(key, "key", getattr(key, "idx", getattr(key, "name", key)))) for key in path]
        keyed = bool(path) and not isinstance(path[0], pytree.SequenceKey)
        names.append(".".join(parts if keyed else [name, *parts]))
        if not isinstance(leaf, TensorArgument):
            raise UnsupportedError(f"forward() returns {names[-1]}, which is no tensor; a file answers in tensors")
    return names


class _Quiet:
    """Keeps torch's exporter from writing to the log what no user of ours can act on."""

    LOGGERS = ("torch.onnx", "torch.export", "torch.fx")

    def __enter__(self) -> None:
        self.levels = [(name, logging.getLogger(name).level) for name in self.LOGGERS]
        for name, _ in self.levels:
            logging.getLogger(name).setLevel(logging.CRITICAL)

    def __exit__(self, *_: object) -> None:
        for name, level in self.levels:
            logging.getLogger(name).setLevel(level)
