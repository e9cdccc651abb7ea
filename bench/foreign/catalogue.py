"""Binary and low-bit networks of other packages, and the ways in which these packages write files."""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

__all__ = ["ENTRIES", "Entry"]

Export = Callable[[nn.Module, torch.Tensor, Path], None]


@dataclass(frozen=True)
class Entry:
    """A network, random and not trained, its input and the exporter that writes its file."""

    build: Callable[[], nn.Module]
    shape: tuple[int, ...]
    export: Export


def _pynq(name: str) -> Callable[[], nn.Module]:
    """Return what builds a network of Brevitas' ``bnn_pynq`` examples: TFC, SFC, LFC (MNIST) or CNV (CIFAR-10)."""

    def build() -> nn.Module:
        from brevitas_examples.bnn_pynq import models

        network: nn.Module = getattr(models, name)(pretrained=False)
        return network

    return build


def _bitorch(name: str, shape: tuple[int, ...]) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        import bitorch.models

        network: nn.Module = getattr(bitorch.models, name)(input_shape=[1, *shape], num_classes=1000)
        return network

    return build


def _qonnx(network: nn.Module, x: torch.Tensor, path: Path) -> None:
    from brevitas.export import export_qonnx

    export_qonnx(network, x, export_path=str(path))


def _qcdq(network: nn.Module, x: torch.Tensor, path: Path) -> None:
    from brevitas.export import export_onnx_qcdq

    export_onnx_qcdq(network, x, export_path=str(path))


def _cleaned(network: nn.Module, x: torch.Tensor, path: Path) -> None:
    from qonnx.util.cleanup import cleanup

    _qonnx(network, x, path)
    cleanup(str(path), out_file=str(path))


def _channels_last(network: nn.Module, x: torch.Tensor, path: Path) -> None:
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.transformation.channels_last import ConvertToChannelsLastAndClean

    _cleaned(network, x, path)
    ModelWrapper(str(path)).transform(ConvertToChannelsLastAndClean()).save(str(path))


def _torch(network: nn.Module, x: torch.Tensor, path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(network, (x,), str(path), dynamo=False, opset_version=17)


_PYNQ: Mapping[str, tuple[tuple[int, ...], Mapping[str, Export]]] = {
    "tfc_1w1a": ((1, 28, 28), {"QONNX": _qonnx, "QONNX, cleaned up": _cleaned, "QCDQ": _qcdq}),
    "tfc_1w2a": ((1, 28, 28), {"QONNX": _qonnx}),
    "tfc_2w2a": ((1, 28, 28), {"QONNX": _qonnx, "QCDQ": _qcdq}),
    "cnv_1w1a": ((3, 32, 32), {"QONNX": _qonnx, "QONNX, channels last": _channels_last}),
    "cnv_1w2a": ((3, 32, 32), {"QONNX": _qonnx}),
    "cnv_2w2a": ((3, 32, 32), {"QONNX": _qonnx}),
}


def _entries() -> dict[str, Entry]:
    found = {}
    for name, (shape, exports) in _PYNQ.items():
        for way, export in exports.items():
            found[f"Brevitas {name.upper().replace('_', ' ')}, {way}"] = Entry(_pynq(name), shape, export)
    for name in ("ResnetE18", "QuickNetSmall"):
        found[f"bitorch {name}"] = Entry(_bitorch(name, (3, 224, 224)), (3, 224, 224), _torch)
    return found


ENTRIES: Mapping[str, Entry] = _entries()
"""By the name of its row."""
