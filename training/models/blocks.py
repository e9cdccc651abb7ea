"""Building blocks of the networks: Bi-Real/ReActNet residual blocks, stems, downsampling shortcuts, dense layers."""

from collections.abc import Callable
from functools import partial
from types import MappingProxyType

from torch import Tensor, nn

from ...runtime.errors import ConfigError
from ..layers.binary import BinaryConv2d, BinaryLinear, RPReLU, RSign

__all__ = ["BinaryBlock", "BinaryHead", "PlainBlock", "around", "build_stem", "downsample", "norms"]


def _float_downsample(in_channels: int, out_channels: int, stride: int) -> list[nn.Module]:
    pool = [nn.AvgPool2d(stride, stride, ceil_mode=True, count_include_pad=False)] if stride > 1 else []
    return [*pool, nn.Conv2d(in_channels, out_channels, 1, bias=False), nn.BatchNorm2d(out_channels)]


def _binary_downsample(in_channels: int, out_channels: int, stride: int) -> list[nn.Module]:
    pool = [nn.MaxPool2d(stride, stride, ceil_mode=True)] if stride > 1 else []
    binary = [RSign(in_channels), BinaryConv2d(in_channels, out_channels, 1)]
    return [*pool, *binary, nn.BatchNorm2d(out_channels)]


DOWNSAMPLES = MappingProxyType({"binary": _binary_downsample, "float": _float_downsample})


def downsample(in_channels: int, out_channels: int, stride: int, kind: str = "float") -> nn.Module:
    """Return the shortcut over a stride.

    float: average pool, 1×1 convolution, batch norm (Bi-Real Net, arXiv 1808.00278). binary: max-pool, RSign, binary
    1×1, batch norm: exact, because no floats are added before the sign (docs/export.md). The pools round their output
    size up and leave padding out, so that odd sizes fit the strided 3×3.
    """
    if kind not in DOWNSAMPLES:
        raise ConfigError(f"unknown downsample {kind!r}: choose one of {', '.join(DOWNSAMPLES)}")
    return nn.Sequential(*DOWNSAMPLES[kind](in_channels, out_channels, stride))


def _imagenet_stem(in_channels: int, out_channels: int) -> list[nn.Module]:
    return [
        nn.Conv2d(in_channels, out_channels, 7, stride=2, padding=3, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.MaxPool2d(3, 2, 1),
    ]


def _one_convolution(in_channels: int, out_channels: int, *, stride: int) -> list[nn.Module]:
    convolution = nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)
    return [convolution, nn.BatchNorm2d(out_channels)]


def _cheap_stem(in_channels: int, out_channels: int) -> list[nn.Module]:
    return [
        nn.Conv2d(in_channels, 16, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 16, 3, stride=2, padding=1, groups=16, bias=False),
        nn.BatchNorm2d(16),
        nn.Conv2d(16, out_channels, 1, bias=False),
        nn.BatchNorm2d(out_channels),
    ]


STEMS: MappingProxyType[str, Callable[[int, int], list[nn.Module]]] = MappingProxyType(
    {
        "cheap": _cheap_stem,
        "cifar": partial(_one_convolution, stride=1),
        "imagenet": _imagenet_stem,
        "strided": partial(_one_convolution, stride=2),
    }
)


def build_stem(kind: str, in_channels: int, out_channels: int) -> nn.Sequential:
    """Return the float layers before the first binary one.

    imagenet: 7×7/2, max-pool/2 (He et al., arXiv 1512.03385). cifar: 3×3. strided: 3×3/2. cheap: 3×3/2 to 16 channels,
    depthwise 3×3/2, 1×1: far fewer multiplications than imagenet at the same output size.
    """
    if kind not in STEMS:
        raise ConfigError(f"unknown stem {kind!r}: choose one of {', '.join(STEMS)}")
    return nn.Sequential(*STEMS[kind](in_channels, out_channels))


NORMS = ("after", "before", "both", "none")


def norms(where: str, before: int, after: int) -> tuple[nn.Module, nn.Module]:
    """Return the batch norms in front of a sign of ``before`` channels and behind a convolution to ``after``."""
    if where not in NORMS:
        raise ConfigError(f"unknown norm {where!r}: choose one of {', '.join(NORMS)}")
    front = nn.BatchNorm2d(before) if where in ("before", "both") else nn.Identity()
    return front, nn.BatchNorm2d(after) if where in ("after", "both") else nn.Identity()


def around(in_channels: int, out_channels: int, stride: int, kind: str = "float") -> nn.Module:
    """Return the shortcut around a block: nothing but the value where its shape stays, else :func:`downsample`."""
    same = stride == 1 and in_channels == out_channels
    return nn.Identity() if same else downsample(in_channels, out_channels, stride, kind)


class BinaryBlock(nn.Module):
    """RSign -> BinaryConv2d 3×3 -> batch norm -> + shortcut -> RPReLU: a shortcut around every binary convolution.

    ``norm`` puts a batch norm in front of the sign, too or instead (:data:`NORMS`).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        stride: int = 1,
        pad_value: int = 0,
        downsample_kind: str = "float",
        norm: str = "after",
    ) -> None:
        super().__init__()
        self.norm_before, self.norm = norms(norm, in_channels, out_channels)
        self.sign = RSign(in_channels)
        self.conv = BinaryConv2d(in_channels, out_channels, 3, stride=stride, padding=1, pad_value=pad_value)
        self.shortcut = around(in_channels, out_channels, stride, downsample_kind)
        self.act: nn.Module = RPReLU(out_channels)

    def convolved(self, x: Tensor) -> Tensor:
        """Return the normalised convolution of the signs of ``x``, what the shortcut is added to."""
        result: Tensor = self.norm(self.conv(self.sign(self.norm_before(x))))
        return result

    def forward(self, x: Tensor) -> Tensor:
        """``[N, in_channels, H, W]`` to ``[N, out_channels, ceil(H/stride), ceil(W/stride)]``."""
        result: Tensor = self.act(self.convolved(x) + self.shortcut(x))
        return result


class PlainBlock(nn.Module):
    """RSign -> BinaryConv2d 3×3 -> batch norm -> RPReLU, then max-pool by 2 if asked: no shortcut.

    Pooling before the next sign is pooling over signs: sign(max(x)) = max(sign(x)).
    """

    def __init__(self, in_channels: int, out_channels: int, *, pool: bool = False, pad_value: int = 0) -> None:
        super().__init__()
        self.sign = RSign(in_channels)
        self.conv = BinaryConv2d(in_channels, out_channels, 3, padding=1, pad_value=pad_value)
        self.norm = nn.BatchNorm2d(out_channels)
        self.act = RPReLU(out_channels)
        self.pool: nn.Module = nn.MaxPool2d(2) if pool else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """``[N, in_channels, H, W]`` to ``[N, out_channels, H, W]``, halved with pooling."""
        result: Tensor = self.pool(self.act(self.norm(self.conv(self.sign(x)))))
        return result


class BinaryHead(nn.Module):
    """RSign -> BinaryLinear -> batch norm -> RPReLU over ``[N, in_features]``: a binary hidden dense layer."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.sign = RSign(in_features)
        self.dense = BinaryLinear(in_features, out_features)
        self.norm = nn.BatchNorm1d(out_features)
        self.act = RPReLU(out_features)

    def forward(self, x: Tensor) -> Tensor:
        """``[N, in_features]`` to ``[N, out_features]``."""
        result: Tensor = self.act(self.norm(self.dense(self.sign(x))))
        return result
