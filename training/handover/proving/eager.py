"""The eager network, asked what it answers where its binary layers read the signs that the file's layers read.

Signs cut a network into pieces. Handed the signs of the file, each piece is judged by itself: a sign that rounding has
turned in one of them does not make another look wrong, and what differs is a fault of the piece in which it differs.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from ....runtime.proof.engines import Answer
from ...layers.binary import BinaryConv2d, BinaryLinear, RSign
from ...layers.weight_only import BinaryWeightConv2d, BinaryWeightLinear

__all__ = ["Eager", "Reading", "Run", "owner"]

_DISTANCE = 1e-5
"""How far from its threshold rounding may turn a sign, as a share of the largest value beside it.

Sums of n float32 products, added in another order, differ by about √n·6e-8 of their size: 4e-6 for a thousandfold more
products than a layer has. What a fault of the export changes is larger.
"""


@dataclass
class Reading:
    """What one binary layer of the eager network read, ``own``, beside what the file's layer ``name`` read.

    ``differs`` bool: where the signs are others. ``wrong`` of ``integers`` sums are others than those of the layer's
    ±1 convolution, on the signs of the file.
    """

    name: str
    own: Tensor
    differs: NDArray[np.bool_]
    integers: int = 0
    wrong: int = 0


@dataclass
class Run:
    """One answer: ``outputs`` in order, ``readings`` in the order of the calls, ``seen`` by module if asked for.

    ``bounds``: the same with all thresholds a little higher, and a little lower, once somebody has asked.
    """

    outputs: list[Tensor] = field(default_factory=list)
    readings: list[Reading] = field(default_factory=list)
    seen: list[tuple[str, NDArray[Any]]] = field(default_factory=list)
    bounds: "list[Run]" = field(default_factory=list)


class Eager:
    """A network in eval mode on the CPU.

    prepare: is done to each input before (pixels to numbers, or nothing). Real inputs get the type of the parameters.
    slack: how much the file may differ, as a share of the largest value, where the file rounds what the network does
    not; of a network in half precision it is 8 of its roundings.
    """

    def __init__(
        self, network: nn.Module, prepare: Callable[[Tensor], Tensor] = lambda x: x, slack: float = 0.0
    ) -> None:
        self._network, self._prepare = network, prepare
        real = [parameter.dtype for parameter in network.parameters() if parameter.is_floating_point()]
        self._type = real[0] if real else None
        self.slack = max([slack, *(8 * torch.finfo(kind).eps for kind in set(real) & {torch.float16, torch.bfloat16})])
        self.modules = dict(network.named_modules())
        # By every path: a layer that is called from two places has a name in the file for each.
        everywhere = network.named_modules(remove_duplicate=False)
        self._layers = {path: module for path, module in everywhere if _counts(module)}
        self.thresholds = any(isinstance(module, RSign) for module in self.modules.values())

    def run(self, inputs: Sequence[Tensor], answer: Answer, *, shift: float = 0.0, watch: bool = False) -> Run:
        """Answer ``inputs`` with the signs of ``answer`` in front of every binary layer.

        shift: thresholds are moved down by so many times the distance within which rounding may turn a sign.
        watch: keep what every module returned.
        """
        run = Run()
        names: dict[nn.Module, list[str]] = {layer: [] for layer in self._layers.values()}
        for name in answer.signs:
            if (path := owner(name, self._layers)) is not None:
                names[self._layers[path]].append(name)
        share = shift * max(_DISTANCE, self.slack)
        with ExitStack() as stack, unchanged(self._network):
            for layer, its in names.items():
                hook = _reader(iter(its), answer, run)
                stack.callback(layer.register_forward_pre_hook(hook).remove)
            for path, module in self.modules.items():
                if shift and isinstance(module, RSign):
                    stack.callback(module.register_forward_pre_hook(_shifter(share)).remove)
                if watch:
                    stack.callback(module.register_forward_hook(_watcher(path, run)).remove)
            run.outputs = list(_tensors(self._network(*(self._input(tensor) for tensor in inputs))))
        return run

    def _input(self, tensor: Tensor) -> Tensor:
        """Return a copy, for a network may change what it is given."""
        prepared = self._prepare(tensor.clone())
        return prepared.to(self._type) if self._type and prepared.is_floating_point() else prepared


def owner(name: str, paths: Mapping[str, Any]) -> str | None:
    """Return the longest of the modules' paths that a name in the file begins with, None if there is none."""
    fitting = [path for path in paths if not path or name == path or name.startswith((f"{path}.", f"{path}_"))]
    return max(fitting, key=len, default=None)


@contextmanager
def unchanged(network: nn.Module) -> Iterator[None]:
    """Run in eval mode without gradients; modes, buffers and the state of random numbers are afterwards as before."""
    modes = [(module, module.training) for module in network.modules()]
    buffers = [
        (module, name, buffer, buffer.clone())
        for module in network.modules()
        for name, buffer in module.named_buffers(recurse=False)
    ]
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        network.eval()
        try:
            yield
        finally:
            for module, mode in modes:
                module.training = mode
            for module, name, buffer, values in buffers:
                setattr(module, name, buffer)
                if not torch.equal(buffer, values):
                    buffer.copy_(values)


def _counts(module: nn.Module) -> bool:
    """Whether a layer reads signs and counts."""
    real = isinstance(module, BinaryWeightConv2d | BinaryWeightLinear)
    return isinstance(module, BinaryConv2d | BinaryLinear) and not real


def _sums(layer: Any, signs: Tensor) -> Tensor:
    """Return the layer's convolution of ±1 with ±1."""
    weight = torch.where(layer.latent_weight() >= 0, 1.0, -1.0)
    dense = isinstance(layer, BinaryLinear)
    return F.linear(signs, weight) if dense else layer.convolve(signs, weight).round()


def _reader(names: Iterator[str], answer: Answer, run: Run) -> Callable[..., Any]:
    """Return the hook that hands a layer the signs of the file, one name a call."""

    def hook(layer: nn.Module, arguments: tuple[Any, ...]) -> Any:
        name = next(names, None)
        if name is None or not arguments or answer.signs[name].size != arguments[0].numel():
            return None
        own = arguments[0].detach()
        signs = torch.from_numpy(np.ascontiguousarray(answer.signs[name], np.float32)).reshape(own.shape)
        reading = Reading(name, own.clone(), (own.float() != signs).numpy())
        if name in answer.sums:
            expected, found = _sums(layer, signs).numpy(), answer.sums[name]
            reading.integers = found.size
            same = expected.size == found.size
            wrong = expected.reshape(found.shape) != found if same else np.ones(found.shape, np.bool_)
            reading.wrong = int(np.count_nonzero(wrong))
        run.readings.append(reading)
        return (signs.to(own.dtype), *arguments[1:])

    return hook


def _shifter(share: float) -> Callable[..., Any]:
    """Return the hook that moves what a sign reads, by a share of the largest value."""

    def hook(module: nn.Module, arguments: tuple[Any, ...]) -> Any:
        x, threshold = arguments[0], module.threshold
        assert isinstance(threshold, Tensor)
        largest = max(float(tensor.abs().max()) for tensor in (x, threshold))
        return (x + share * largest, *arguments[1:])

    return hook


def _watcher(path: str, run: Run) -> Callable[..., None]:
    def hook(module: nn.Module, arguments: Any, result: Any) -> None:
        run.seen += [(path, tensor.detach().float().numpy().copy()) for tensor in _tensors(result)]

    return hook


def _tensors(result: Any) -> Iterator[Tensor]:
    """Yield the tensors of what a network returns, in order."""
    if isinstance(result, Tensor):
        yield result
    elif isinstance(result, Mapping):
        for value in result.values():
            yield from _tensors(value)
    elif isinstance(result, tuple | list):
        for value in result:
            yield from _tensors(value)
