"""Float residual networks (He et al., arXiv 1512.03385): teachers of binary ones, and their float reference.

Shortcuts pool before their 1×1 convolution (ResNet-D, arXiv 1812.01187), as those of the binary networks do. They must
not stride it: the backward pass of torch 2.13's strided 1×1 convolution in NHWC order writes past its buffer on a CPU
for fewer than eight channels.
"""

from collections.abc import Sequence
from functools import partial

from torch import Tensor, nn

from .blocks import build_stem, downsample

__all__ = ["float_digits_resnet", "float_resnet8", "float_resnet18", "float_resnet20", "float_resnet34"]


class FloatBlock(nn.Module):
    """Two 3×3 convolutions with batch norm and ReLU around a shortcut."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(out_channels)
        self.act1 = nn.ReLU()
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(out_channels)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = downsample(in_channels, out_channels, stride)
        self.act2 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """``[N, in_channels, H, W]`` to ``[N, out_channels, ceil(H/stride), ceil(W/stride)]``."""
        out = self.norm2(self.conv2(self.act1(self.norm1(self.conv1(x)))))
        result: Tensor = self.act2(out + self.shortcut(x))
        return result


class FloatResNet(nn.Module):
    """A stem, stages of float blocks (their numbers are ``blocks``), mean, classifier."""

    def __init__(
        self,
        blocks: Sequence[int],
        *,
        in_channels: int = 3,
        num_classes: int = 1000,
        width: int = 64,
        stem: str = "imagenet",
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(*build_stem(stem, in_channels, width), nn.ReLU())
        layers: list[nn.Module] = []
        before = width
        for number, count in enumerate(blocks):
            for index in range(count):
                layers.append(FloatBlock(before, width << number, 2 if index == 0 and number else 1))
                before = width << number
        self.blocks = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.head = nn.Linear(before, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """``[N, in_channels, H, W]`` to logits ``[N, num_classes]``."""
        result: Tensor = self.head(self.flatten(self.pool(self.blocks(self.stem(x)))))
        return result


float_resnet18 = partial(FloatResNet, (2, 2, 2, 2))
"""The float ResNet-18."""

float_resnet34 = partial(FloatResNet, (3, 4, 6, 3))
"""The float ResNet-34, the usual teacher."""

float_resnet20 = partial(FloatResNet, (3, 3, 3), num_classes=10, width=16, stem="cifar")
"""The float ResNet-20 for small images."""

float_resnet8 = partial(FloatResNet, (1, 1, 1), num_classes=10, width=16, stem="strided")
"""The float twin of ``resnet8``: the same six 3×3 convolutions in float, with ReLU for sign."""

float_digits_resnet = partial(FloatResNet, (1, 1), in_channels=1, num_classes=10, width=32, stem="cifar")
"""The float twin of ``digits_resnet``: the same four 3×3 convolutions in float; the classifier follows at once."""
