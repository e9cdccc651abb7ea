"""Building blocks of the networks: Bi-Real/ReActNet residual blocks and their downsampling shortcut."""

from torch import Tensor, nn

from .layers import BinaryConv2d, BinaryLinear, RPReLU, RSign

__all__ = ["BinaryBlock", "BinaryHead", "downsample"]


def downsample(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """Return the float shortcut: average pool over the stride, 1×1 convolution, batch norm (Bi-Real Net, 1808.00278).

    The pool rounds its output size up and leaves padding out of the mean, so that odd sizes fit the strided 3×3.
    """
    layers: list[nn.Module] = []
    if stride > 1:
        layers.append(nn.AvgPool2d(stride, stride, ceil_mode=True, count_include_pad=False))
    layers += [nn.Conv2d(in_channels, out_channels, 1, bias=False), nn.BatchNorm2d(out_channels)]
    return nn.Sequential(*layers)


class BinaryBlock(nn.Module):
    """RSign -> BinaryConv2d 3×3 -> batch norm -> + shortcut -> RPReLU: a shortcut around every binary convolution."""

    def __init__(self, in_channels: int, out_channels: int, *, stride: int = 1, pad_value: int = 0) -> None:
        super().__init__()
        self.sign = RSign(in_channels)
        self.conv = BinaryConv2d(in_channels, out_channels, 3, stride=stride, padding=1, pad_value=pad_value)
        self.norm = nn.BatchNorm2d(out_channels)
        same = stride == 1 and in_channels == out_channels
        self.shortcut: nn.Module = nn.Identity() if same else downsample(in_channels, out_channels, stride)
        self.act = RPReLU(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """``[N, in_channels, H, W]`` to ``[N, out_channels, ceil(H/stride), ceil(W/stride)]``."""
        result: Tensor = self.act(self.norm(self.conv(self.sign(x))) + self.shortcut(x))
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
