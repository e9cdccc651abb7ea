"""What a network does with its layers, seen while it runs on an example; its forward may be any Python.

A run is recorded below torch's functions, operator by operator, so in-place work, functional calls and control flow are
seen as they happen. Values are told apart by their storage, which views share with what they view.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ...runtime.errors import UnsupportedError

__all__ = ["Call", "Recording", "hooked", "record", "run"]

_PRODUCTS = ("conv", "mm", "linear", "matmul", "rnn", "lstm", "gru", "attention", "transformer")
"""Parts of the names of operators that multiply with a weight."""

Origin = str | int
"""A layer by its path, or an input of the network by its number."""
_NOTHING: frozenset[Any] = frozenset()


@dataclass
class Call:
    """One call of a layer, by path.

    ``origins``: the layers and inputs whose values it reads with no other layer between.
    ``readers``: the operators that read its result.
    """

    path: str
    shape: tuple[int, ...]
    origins: frozenset[Origin]
    readers: list[str] = field(default_factory=list)

    @property
    def normed(self) -> bool:
        """Whether a batch norm reads the result and nothing else does."""
        return bool(self.readers) and all("batch_norm" in reader for reader in self.readers)


class Recording(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """The calls of layers and ReLUs, the first and last layers, and the parameters multiplied outside of layers."""

    def __init__(self, network: nn.Module, layers: Mapping[str, nn.Module]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.calls: list[Call] = []
        self.relus: dict[str, list[tuple[int, Call]]] = {}
        self.elsewhere: dict[str, None] = {}
        self.first: set[Origin] = set()
        self.last: set[Origin] = set()
        self._layers = layers
        self._parameters = {_key(p): name for name, p in network.named_parameters()}
        self._open: list[Call] = []
        self._known: dict[int | None, frozenset[Origin]] = {}
        self._results: dict[int | None, Call] = {}
        self._alive: list[Tensor] = []  # else another value might get the storage of one that is gone

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run one operator and note what its results come from."""
        out = func(*args, **(kwargs or {}))
        read, made = _tensors((args, kwargs)), _tensors(out)
        self._alive += made
        origins = self._origins(read)
        name, keys = func._schema.name, {_key(tensor) for tensor in made}
        inside = self._layers[self._open[-1].path] if self._open else None
        for key in {_key(tensor) for tensor in read}:
            if key in self._results and (key not in keys or func._schema.is_mutable):  # not for views
                self._results[key].readers.append(name)
            path = self._parameters.get(key)
            if path and any(part in name for part in _PRODUCTS) and not _owns(inside, key):
                self.elsewhere[path] = None
                self.calls.append(Call(path, (), origins))
                origins = frozenset([path])
        for key in keys:
            self._known[key] = self._known.get(key, _NOTHING) | origins
        return out

    def enter(self, path: str, inputs: Any) -> None:
        """Note that a layer is called."""
        tensors = _tensors(inputs)
        shape = tuple(tensors[0].shape) if tensors else ()
        self._open.append(Call(path, shape, self._origins(tensors)))
        self.calls.append(self._open[-1])

    def leave(self, result: Any) -> None:
        """Note that it has answered."""
        call = self._open.pop()
        for tensor in _tensors(result):
            self._known[_key(tensor)] = frozenset([call.path])
            self._results[_key(tensor)] = call

    def bend(self, path: str, result: Tensor) -> None:
        """Note that a ReLU has answered, and behind how many calls of layers."""
        call = Call(path, tuple(result.shape), self._origins([result]))
        self.relus.setdefault(path, []).append((len(self.calls), call))

    def begin(self, inputs: Any) -> None:
        """Note the inputs of the network."""
        for number, tensor in enumerate(_tensors(inputs)):
            self._known[_key(tensor)] = frozenset([number])

    def end(self, outputs: Any) -> None:
        """Find the first layers, one for each input, and the last, one for each output."""
        order = {call.path: number for number, call in enumerate(self.calls)}
        inputs = {origin for call in self.calls for origin in call.origins if isinstance(origin, int)}
        self.first = {next(call.path for call in self.calls if number in call.origins) for number in inputs}
        for tensor in _tensors(outputs):
            ends = [origin for origin in self._origins([tensor]) if isinstance(origin, str)]
            self.last |= {max(ends, key=lambda path: order[path])} if ends else set()
        if self.calls:  # where values took a way that torch does not see: numpy, a class of one's own
            self.first = self.first or {self.calls[0].path}
            self.last = self.last or {self.calls[-1].path}

    def order(self) -> dict[str, int]:
        """Return each path's place in the order of first calls; a parameter's layer has that of the parameter."""
        places: dict[str, int] = {}
        for call in self.calls:
            for path in (call.path, call.path.rpartition(".")[0]):
                places.setdefault(path, len(places))
        return places

    def _origins(self, tensors: Iterable[Tensor]) -> frozenset[Origin]:
        return _NOTHING.union(*(self._known.get(_key(tensor), _NOTHING) for tensor in tensors))


def record(
    network: nn.Module, inputs: tuple[Any, ...], layers: Mapping[str, nn.Module], relus: Mapping[str, nn.Module]
) -> Recording:
    """Run ``network`` once and return what ``layers`` and ``relus`` (by path) did in it."""
    recording = Recording(network, layers)

    def enter(path: str) -> Callable[..., None]:
        return lambda module, args, kwargs: recording.enter(path, (args, kwargs))

    def leave(path: str) -> Callable[..., None]:
        return lambda module, args, result: recording.leave(result)

    def bend(path: str) -> Callable[..., None]:
        return lambda module, args, result: recording.bend(path, result)

    recording.begin(inputs)
    with hooked(layers, before=enter, after=leave), hooked(relus, after=bend), recording:
        outputs = run(network, inputs)
    recording.end(outputs)
    return recording


@contextmanager
def hooked(
    modules: Mapping[str, nn.Module],
    *,
    before: Callable[[str], Callable[..., None]] | None = None,
    after: Callable[[str], Callable[..., None]] | None = None,
) -> Iterator[None]:
    """Hook functions made from each module's path to ``modules``, behind the hooks that they have."""
    handles = []
    for path, module in modules.items():
        if before is not None:
            handles.append(module.register_forward_pre_hook(before(path), with_kwargs=True))
        if after is not None:
            handles.append(module.register_forward_hook(after(path)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def run(network: nn.Module, inputs: tuple[Any, ...], *, batch_statistics: bool = False) -> Any:
    """Return the outputs in eval mode; every module keeps its mode and its buffers, and torch its random numbers.

    ``batch_statistics``: batch norms use those of the inputs. UnsupportedError if the network does not run on them.
    """
    modes = {module: module.training for module in network.modules()}
    buffers = {
        buffer: buffer.clone() for module in modes if isinstance(module, _BatchNorm) for buffer in module.buffers()
    }
    try:
        for module in modes:
            module.training = batch_statistics and isinstance(module, _BatchNorm)
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            return network(*inputs)
    except Exception as error:
        sizes = ", ".join(str(list(tensor.shape)) for tensor in _tensors(inputs))
        reason = next(iter(str(error).splitlines()), "")
        raise UnsupportedError(
            f"{type(network).__name__} does not run on an example of shape {sizes}: {type(error).__name__}: {reason}"
        ) from error
    finally:
        for module, mode in modes.items():
            module.training = mode
        for buffer, value in buffers.items():
            buffer.copy_(value)


def _tensors(values: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor)]


def _key(tensor: Tensor) -> int | None:
    """Return what tells a tensor's storage from others, None where it has none (sparse tensors)."""
    try:
        found: int = tensor.untyped_storage()._cdata
        return found
    except (NotImplementedError, RuntimeError):
        return None


def _owns(layer: nn.Module | None, key: int | None) -> bool:
    return layer is not None and any(_key(parameter) == key for parameter in layer.parameters())
