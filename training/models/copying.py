"""A second form of a network over the same parameters and buffers: other layers in some places, any Python in forward.

Every module is copied (:func:`shared_copy`), so that attributes, lists, hooks and bound methods refer to the copies. A
copy that is to act otherwise gets another class (:func:`recast`).
"""

import copy
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from types import FunctionType, MethodType
from typing import Any
from weakref import ReferenceType

import torch
from torch import Tensor, nn

from ...runtime.errors import ConfigError, UnsupportedError

__all__ = ["bound_function", "recast", "shared_copy"]


def recast(module: nn.Module, kind: type[nn.Module], **attributes: Any) -> None:
    """Make ``module`` a ``kind`` of its class, in place.

    A method of ``kind`` goes before that of the module's class, which ``super()`` reaches. ``attributes`` are those of
    the new class: what they hold does not become part of the module.
    """
    module.__class__ = type(kind.__name__, (kind, type(module)), {"__doc__": kind.__doc__, **attributes})


def shared_copy(network: nn.Module) -> tuple[nn.Module, dict[nn.Module, nn.Module]]:
    """Return a copy of the modules of ``network`` that shares every parameter and buffer, and the copy of each module.

    TorchScript modules stay what they are. UnsupportedError if the network cannot be copied, ConfigError if it has lazy
    layers.
    """
    name, modules = type(network).__name__, list(network.modules())
    if any(nn.parameter.is_lazy(parameter) for parameter in network.parameters()):
        raise ConfigError(f"{name} has lazy layers: run it once on data before")
    memo: dict[int, Any] = {}
    for module in modules:  # a pruned or weight-normed weight is no parameter, and torch copies none with a past
        memo |= {id(tensor): tensor for tensor in _leaves(vars(module)) if isinstance(tensor, Tensor)}
        if isinstance(module, torch.jit.ScriptModule):
            memo |= {id(inner): inner for inner in module.modules()}
    try:
        copied = copy.deepcopy(network, memo)
    except Exception as error:
        raise UnsupportedError(f"{name} cannot be copied: {error}") from error
    copies = {module: memo[id(module)] for module in modules}
    for module, other in copies.items():  # the dicts, not their values: Module.to() puts new tensors in
        vars(other)["_parameters"], vars(other)["_buffers"] = module._parameters, module._buffers
    return copied, copies


def bound_function(network: nn.Module) -> str | None:
    """Return where ``network`` keeps a function that holds one of its modules, by path; None where there is none.

    Python does not copy functions: in a copy of the network such a one would go on to call the original's module.
    """
    modules = set(network.modules())
    for path, module in network.named_modules():
        if "_orig_mod" in module._modules:
            continue  # torch.compile makes the functions of its wrapper anew
        for name, value in vars(module).items():
            if "state_dict" not in name and any(_holds(leaf, modules) for leaf in _leaves(value)):
                return f"{path}.{name}".lstrip(".")
    return None


def _leaves(value: Any) -> Iterator[Any]:
    """Yield what stands in nested containers; modules are leaves."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple | set | frozenset):
        for item in value:
            yield from _leaves(item)
    else:
        yield value


def _holds(value: Any, modules: Collection[nn.Module]) -> bool:
    """Return whether a value is or holds a function or weak reference through which one of ``modules`` is reached."""
    waiting, seen = [(value, False)], set[int]()
    while waiting:
        found, inside = waiting.pop()
        if id(found) in seen:
            continue
        seen.add(id(found))
        if isinstance(found, nn.Module):
            if inside and found in modules:
                return True
        elif isinstance(found, FunctionType):
            held = [*_cells(found), *(found.__defaults__ or ()), *(found.__kwdefaults__ or {}).values()]
            waiting += [(leaf, True) for leaf in _leaves(held)]
        elif isinstance(found, ReferenceType):
            waiting.append((found(), True))
        elif isinstance(found, MethodType):
            waiting += [(found.__self__, inside), (found.__func__, inside)]
        elif isinstance(found, partial):
            waiting += [(leaf, inside) for leaf in _leaves([found.func, *found.args, found.keywords])]
    return False


def _cells(function: Callable[..., Any]) -> Iterator[Any]:
    """Yield what a function has taken from around it."""
    for cell in getattr(function, "__closure__", None) or ():
        try:
            yield cell.cell_contents
        except ValueError:  # empty: a name that is set later
            continue
