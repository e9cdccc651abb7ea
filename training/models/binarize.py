"""``binarize``: the convolutions and linear layers of a user's float network become binary ones, ready to train."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ...runtime.errors import ConfigError, UnsupportedError
from ..layers.binary import RPReLU, RSign
from .copying import shared_copy
from .recording import Call, Recording, hooked, record, run
from .replacements import Binarized, become, convolution, dense

__all__ = ["KEPT_FLOAT", "binarize"]

KEPT_FLOAT = "latentbit.kept_float"
"""Key in the result's ``meta`` under which the layers left in float are listed, each with the reason."""

_LAYERS = (nn.Conv1d, nn.Conv2d, nn.Linear)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_WRAPPED = ("_orig_mod", "module")
"""Where torch.compile, and DataParallel or DistributedDataParallel, keep the network that they wrap."""


def binarize(
    network: nn.Module,
    example_input: Tensor | Sequence[Any],
    *,
    keep_first: bool = True,
    keep_last: bool = True,
    select: Callable[[str, nn.Module], bool] | None = None,
    pad_value: int = 0,
    weight_only: bool = False,
) -> nn.Module:
    """Return a binary form of ``network``, over the same parameters; ``network`` keeps its own form.

    The result is a copy of the modules in which each ``Conv1d``, ``Conv2d`` and ``Linear`` is replaced by RSign ->
    BinaryConv2d or BinaryLinear, with the float weight as the real-valued W that training goes on with; a batch norm is
    added where none follows. Nothing else of ``forward`` changes: it may hold any Python, and train and eval mean what
    they meant. A ReLU module in front of a binary layer becomes an RPReLU, which lets negative values pass. Thresholds
    start at the mean of what a layer reads in each channel: behind a ReLU that stays (one called as a function, or one
    module for different numbers of channels) nothing is negative, and all signs would be +1.

    network: float. A wrapper of torch.compile, DataParallel or DistributedDataParallel is taken off, with a warning.
    example_input: a batch ``[N, C, H, W]`` or the sequence of the network's inputs, on which the network is run. Some
        tens of real samples give the best thresholds; a tensor of one value, as from ``torch.zeros``, stands for its
        shape alone.
    keep_first, keep_last: leave in float the first layer behind each input and the last before each output (they cost
        accuracy most).
    select: called with a layer's path and the layer; False leaves it in float.
    pad_value: what lies outside the image for the binary convolutions that pad with zeros, −1, 0 or +1.
    weight_only: binarise weights alone; activations stay real (:mod:`..layers.weight_only`), ReLUs stay.

    The result's ``meta["latentbit.kept_float"]`` lists by path what multiplies with a weight and stays in float, with
    the reason: the layers kept, those of other kinds, and weights that are also used outside of their layer.
    Raises UnsupportedError if the network does not run on the example or cannot be copied, ConfigError if no layer is
    left to binarise.
    """
    network = _copy(_unwrapped(network))
    inputs = _inputs(network, example_input)
    named = dict(network.named_modules())
    layers = {path: module for path, module in named.items() if isinstance(module, _LAYERS)}
    relus = {path: module for path, module in named.items() if type(module) in (nn.ReLU, nn.ReLU6)}
    recording = record(network, inputs, layers, relus)

    kept = {path: reason for path, layer in layers.items() if (reason := _obstacle(path, layer, recording))}
    kept = {**_other_products(named, recording), **kept}
    for path, layer in layers.items():
        if path in kept:
            continue
        if keep_first and path in recording.first:
            kept[path] = "the first layer (keep_first)"
        elif keep_last and path in recording.last:
            kept[path] = "the last layer (keep_last)"
        elif select is not None and not select(path, layer):
            kept[path] = "not selected"
    position = recording.order()
    kept = dict(sorted(kept.items(), key=lambda entry: position.get(entry[0], len(position))))
    chosen = {path: layer for path, layer in layers.items() if path not in kept}
    if not chosen:
        reasons = "; ".join(f"{path}: {reason}" for path, reason in kept.items())
        raise ConfigError(
            f"binarize: no layer of the network is left to binarise ({reasons or 'it has no Conv1d, Conv2d or Linear'})"
        )
    if not weight_only:
        _open_activations(relus, layers, chosen, recording)
    lifted: dict[nn.Parameter, nn.Parameter] = {}
    for path, layer in chosen.items():
        calls = [call for call in recording.calls if call.path == path]
        parts = _replacement(layer, calls, lifted, pad_value, weight_only)
        become(layer, parts)
    _set_thresholds(network, inputs)
    run(network, inputs)
    network.meta = {**_meta(network), KEPT_FLOAT: kept}  # type: ignore[assignment]
    return network


def _unwrapped(network: nn.Module) -> nn.Module:
    """Return the network inside of wrappers, which would be left around the float one."""
    if isinstance(network, torch.jit.ScriptModule):
        raise UnsupportedError("binarize: a TorchScript module cannot be changed: give the module that was scripted")
    compiled = "_orig_mod" in network._modules
    parallel = isinstance(network, nn.DataParallel | nn.parallel.DistributedDataParallel)
    if not compiled and not parallel:
        return network
    warnings.warn(
        f"binarize: the wrapper {type(network).__name__} is taken off; wrap the result instead",
        UserWarning,
        stacklevel=3,
    )
    return _unwrapped(network.get_submodule(_WRAPPED[parallel]))


def _copy(network: nn.Module) -> nn.Module:
    """Return a copy of the modules that shares every parameter and buffer, without wrappers inside."""
    copied, _ = shared_copy(network)
    for module in list(copied.modules()):
        for name, child in list(module._modules.items()):
            if child is not None and not isinstance(child, torch.jit.ScriptModule):
                module._modules[name] = _unwrapped(child)
        if isinstance(module, nn.TransformerEncoderLayer):
            module.activation_relu_or_gelu = 0  # else torch computes it in one step in eval mode, by the float weights
    _meta(copied)
    return copied


def _meta(network: nn.Module) -> dict[str, Any]:
    """Return the network's ``meta``, empty if it has none; ConfigError if it is in use for something else."""
    found = getattr(network, "meta", {})
    if not isinstance(found, dict):
        raise ConfigError(f"binarize: {type(network).__name__}.meta is in use, and holds what stayed float: rename it")
    return found


def _inputs(network: nn.Module, example: Tensor | Sequence[Any]) -> tuple[Any, ...]:
    """Return the network's inputs on its device; noise for one that has no values but one."""
    given = tuple(example) if isinstance(example, Sequence) else (example,)
    device = next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
    generator = torch.Generator().manual_seed(0)

    def prepared(value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        if value.is_floating_point() and value.numel() > 1 and bool((value == value.flatten()[0]).all()):
            value = torch.randn(value.shape, generator=generator).to(value.dtype)
        return value.to(device)

    return tuple(prepared(value) for value in given)


def _obstacle(path: str, layer: nn.Module, recording: Recording) -> str:
    """Return why a layer cannot become binary, or an empty string."""
    kind = next(kind for kind in _LAYERS if isinstance(layer, kind))
    own = any(
        getattr(type(layer), name, None) is not getattr(kind, name, None) for name in ("forward", "_conv_forward")
    )
    if "weight" not in layer._parameters:
        return "its weight is computed (weight_norm, pruning or another parametrisation): make that permanent first"
    if own:
        return f"its class {type(layer).__name__}, a subclass of {kind.__name__}, has a forward of its own"
    ranks = {len(call.shape) for call in recording.calls if call.path == path}
    if not ranks:
        return "not called on the example"
    batched = {nn.Conv1d: 3, nn.Conv2d: 4, nn.Linear: 2}[kind]
    return "its input has no batch axis" if min(ranks) < batched else ""


def _other_products(named: Mapping[str, nn.Module], recording: Recording) -> dict[str, str]:
    """Return what else multiplies with a parameter: layers of other kinds, and weights used outside of their layer."""
    found: dict[str, str] = {}
    for parameter in recording.elsewhere:
        path = parameter.rpartition(".")[0]
        owner = named[path]
        if isinstance(owner, _LAYERS):
            if any(call.path == path for call in recording.calls):
                found[parameter] = "a layer's weight, multiplied outside of that layer too"
        elif isinstance(owner, _TRANSPOSED):
            found[path] = (
                f"a {type(owner).__name__}: packed kernels count over the windows of a convolution, and it has none"
            )
        elif type(owner).__module__.startswith("torch."):
            found[path] = f"a {type(owner).__name__}, for which there is no binary layer"
        else:
            found[parameter] = f"a parameter that {type(owner).__name__} multiplies with itself: make it a layer"
    return found


def _open_activations(
    relus: Mapping[str, nn.Module],
    layers: Mapping[str, nn.Module],
    chosen: Mapping[str, nn.Module],
    recording: Recording,
) -> None:
    """Turn every ReLU that is called for one number of channels, with a chosen layer to come, into an RPReLU.

    One behind a linear layer over several leading axes stays: its channels are the last axis.
    """
    last = max(number for number, call in enumerate(recording.calls) if call.path in chosen)
    linear = {path for path, layer in layers.items() if isinstance(layer, nn.Linear)}
    rows = {call.path for call in recording.calls if len(call.shape) > 2} & linear
    weight = next(iter(chosen.values())).get_parameter("weight")
    for path, calls in recording.relus.items():
        before = all(number <= last for number, _ in calls)
        channels = {call.shape[1] if len(call.shape) > 1 and not call.origins & rows else 0 for _, call in calls}
        if before and len(channels) == 1 and min(channels) > 0:
            become(relus[path], RPReLU(channels.pop()).to(weight.device, weight.dtype))


def _set_thresholds(network: nn.Module, inputs: tuple[Any, ...]) -> None:
    """Set the thresholds of every new sign to the mean of each channel that it reads, one layer after the other."""
    signs = {
        f"{path}.sign": sign
        for path, module in network.named_modules()
        if isinstance(module, Binarized) and isinstance(sign := module._modules.get("sign"), RSign)
    }
    seen: set[str] = set()

    def measure(path: str) -> Callable[..., None]:
        def hook(sign: RSign, args: tuple[Tensor], kwargs: dict[str, Any]) -> None:
            mean = args[0].movedim(1, -1).flatten(0, -2).mean(0)
            if path not in seen and bool(mean.isfinite().all()):
                sign.threshold.copy_(mean)
            seen.add(path)

        return hook

    with hooked(signs, before=measure):
        try:
            run(network, inputs, batch_statistics=True)  # those of the float network are not those of the binary one
        except UnsupportedError:  # one sample has no statistics
            run(network, inputs)


def _replacement(
    layer: nn.Module,
    calls: Sequence[Call],
    lifted: dict[nn.Parameter, nn.Parameter],
    pad_value: int,
    weight_only: bool,
) -> Binarized:
    """Return what takes the place of a layer, without its norm where one follows already."""
    weight = layer.weight
    assert isinstance(weight, nn.Parameter)
    if isinstance(layer, nn.Linear):
        parts = dense(layer, weight, rows=any(len(call.shape) != 2 for call in calls), weight_only=weight_only)
    else:
        assert isinstance(layer, nn.Conv1d | nn.Conv2d)
        if isinstance(layer, nn.Conv1d):  # tied layers stay tied
            rows = nn.Parameter(weight.detach().unsqueeze(2), requires_grad=weight.requires_grad)
            weight = lifted.setdefault(weight, rows)
        parts = convolution(layer, weight, pad_value=pad_value, weight_only=weight_only)
    if all(call.normed for call in calls):
        del parts.norm
    for part in parts:
        if isinstance(part, RSign | nn.BatchNorm1d | nn.BatchNorm2d):
            part.to(weight.device, weight.dtype)
    return parts
