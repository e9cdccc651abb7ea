"""Binary residual networks: a shortcut around every 3×3 convolution (Bi-Real Net, arXiv 1808.00278)."""

from collections.abc import Sequence
from functools import partial

from torch import Tensor, nn

from .blocks import BinaryBlock, BinaryHead, build_stem

__all__ = ["DigitsResNet", "resnet8", "resnet18", "resnet20", "resnet34"]


class BinaryResNet(nn.Module):
    """A float stem, stages of binary blocks that double the channels and halve the image, mean, float classifier.

    ``convolutions`` is the number of blocks, one binary 3×3 convolution each, of every stage.
    """

    def __init__(
        self,
        convolutions: Sequence[int],
        *,
        in_channels: int = 3,
        num_classes: int = 1000,
        width: int = 64,
        stem: str = "imagenet",
        pad_value: int = 0,
        downsample: str = "float",
    ) -> None:
        super().__init__()
        self.stem = build_stem(stem, in_channels, width)
        stages = []
        before = width
        for number, count in enumerate(convolutions):
            channels = width << number
            blocks = []
            for index in range(count):
                stride = 2 if index == 0 and number > 0 else 1
                blocks.append(
                    BinaryBlock(before, channels, stride=stride, pad_value=pad_value, downsample_kind=downsample)
                )
                before = channels
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.Sequential(*stages)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.head = nn.Linear(before, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """``[N, in_channels, H, W]`` to logits ``[N, num_classes]``."""
        result: Tensor = self.head(self.flatten(self.pool(self.stages(self.stem(x)))))
        return result


resnet18 = partial(BinaryResNet, (4, 4, 4, 4))
"""ResNet-18: sixteen binary 3×3 convolutions."""

resnet34 = partial(BinaryResNet, (6, 8, 12, 6))
"""ResNet-34: thirty-two binary 3×3 convolutions."""

resnet20 = partial(BinaryResNet, (6, 6, 6), num_classes=10, width=16, stem="cifar")
"""ResNet-20 for small images: eighteen binary 3×3 convolutions in three stages."""

resnet8 = partial(BinaryResNet, (2, 2, 2), num_classes=10, width=16, stem="strided")
"""A small network for small images and short schedules: six binary 3×3 convolutions behind a strided stem."""


class DigitsResNet(nn.Module):
    """A small residual network for images of 8×8 pixels: float stem, four binary 3×3, one binary dense layer.

    It is the network of the quick start.
    """

    def __init__(self, *, in_channels: int = 1, num_classes: int = 10, width: int = 32, pad_value: int = 0) -> None:
        super().__init__()
        self.stem = build_stem("cifar", in_channels, width)
        self.blocks = nn.Sequential(
            BinaryBlock(width, width, pad_value=pad_value),
            BinaryBlock(width, width, pad_value=pad_value),
            BinaryBlock(width, 2 * width, stride=2, pad_value=pad_value),
            BinaryBlock(2 * width, 2 * width, pad_value=pad_value),
        )
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.hidden = BinaryHead(2 * width, 2 * width)
        self.head = nn.Linear(2 * width, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """``[N, in_channels, H, W]`` to logits ``[N, num_classes]``."""
        result: Tensor = self.head(self.hidden(self.flatten(self.pool(self.blocks(self.stem(x))))))
        return result
