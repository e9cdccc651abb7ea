"""Binary residual networks: a shortcut around every 3×3 convolution (Bi-Real Net, arXiv 1808.00278)."""

from collections.abc import Sequence
from functools import partial

from torch import Tensor, nn

from .blocks import BinaryHead, build_stem
from .kinds import build_stage

__all__ = ["DigitsResNet", "resnet8", "resnet18", "resnet20", "resnet34"]


class BinaryResNet(nn.Module):
    """A float stem, stages of binary blocks that double the channels and halve the image, mean, float classifier.

    ``convolutions`` is the number of binary 3×3 convolutions of every stage; ``block`` and ``norm`` say what is around
    them (:mod:`.kinds`).
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
        block: str = "residual",
        norm: str = "after",
    ) -> None:
        super().__init__()
        self.stem = build_stem(stem, in_channels, width)
        common = {"pad_value": pad_value, "downsample_kind": downsample, "norm": norm}
        stages = []
        before = width
        for number, count in enumerate(convolutions):
            channels = width << number
            blocks = build_stage(block, before, channels, 2 if number else 1, count, **common)
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

    def __init__(
        self,
        *,
        in_channels: int = 1,
        num_classes: int = 10,
        width: int = 32,
        pad_value: int = 0,
        block: str = "residual",
        norm: str = "after",
    ) -> None:
        super().__init__()
        common = {"pad_value": pad_value, "downsample_kind": "float", "norm": norm}
        self.stem = build_stem("cifar", in_channels, width)
        self.blocks = nn.Sequential(
            *build_stage(block, width, width, 1, 2, **common), *build_stage(block, width, 2 * width, 2, 2, **common)
        )
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.hidden = BinaryHead(2 * width, 2 * width)
        self.head = nn.Linear(2 * width, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """``[N, in_channels, H, W]`` to logits ``[N, num_classes]``."""
        result: Tensor = self.head(self.hidden(self.flatten(self.pool(self.blocks(self.stem(x))))))
        return result
