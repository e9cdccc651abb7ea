"""Binary residual networks: a shortcut around every 3×3 convolution (Bi-Real Net, arXiv 1808.00278)."""

from collections.abc import Sequence

from torch import Tensor, nn

from .blocks import BinaryBlock, BinaryHead, build_stem

__all__ = ["BinaryResNet", "DigitsResNet", "digits_resnet", "resnet8", "resnet18", "resnet20", "resnet34"]


class BinaryResNet(nn.Module):
    """A float stem, stages of binary blocks that double the channels and halve the image, mean, float classifier."""

    def __init__(
        self,
        convolutions: Sequence[int],
        *,
        in_channels: int,
        num_classes: int,
        width: int,
        stem: str,
        pad_value: int,
        downsample: str,
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


def resnet18(
    *,
    in_channels: int = 3,
    num_classes: int = 1000,
    width: int = 64,
    stem: str = "imagenet",
    pad_value: int = 0,
    downsample: str = "float",
) -> nn.Module:
    """Build ResNet-18: sixteen binary 3×3 convolutions."""
    return BinaryResNet(
        (4, 4, 4, 4),
        in_channels=in_channels,
        num_classes=num_classes,
        width=width,
        stem=stem,
        pad_value=pad_value,
        downsample=downsample,
    )


def resnet34(
    *,
    in_channels: int = 3,
    num_classes: int = 1000,
    width: int = 64,
    stem: str = "imagenet",
    pad_value: int = 0,
    downsample: str = "float",
) -> nn.Module:
    """Build ResNet-34: thirty-two binary 3×3 convolutions."""
    return BinaryResNet(
        (6, 8, 12, 6),
        in_channels=in_channels,
        num_classes=num_classes,
        width=width,
        stem=stem,
        pad_value=pad_value,
        downsample=downsample,
    )


def resnet20(
    *,
    in_channels: int = 3,
    num_classes: int = 10,
    width: int = 16,
    stem: str = "cifar",
    pad_value: int = 0,
    downsample: str = "float",
) -> nn.Module:
    """Build ResNet-20 for small images: eighteen binary 3×3 convolutions in three stages."""
    return BinaryResNet(
        (6, 6, 6),
        in_channels=in_channels,
        num_classes=num_classes,
        width=width,
        stem=stem,
        pad_value=pad_value,
        downsample=downsample,
    )


def resnet8(
    *,
    in_channels: int = 3,
    num_classes: int = 10,
    width: int = 16,
    stem: str = "strided",
    pad_value: int = 0,
    downsample: str = "float",
) -> nn.Module:
    """Build a small network for small images and short schedules: six binary 3×3 convolutions behind a strided stem."""
    return BinaryResNet(
        (2, 2, 2),
        in_channels=in_channels,
        num_classes=num_classes,
        width=width,
        stem=stem,
        pad_value=pad_value,
        downsample=downsample,
    )


class DigitsResNet(nn.Module):
    """A small residual network for images of 8×8 pixels: float stem, four binary 3×3, one binary dense layer."""

    def __init__(self, in_channels: int, num_classes: int, width: int, pad_value: int) -> None:
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


def digits_resnet(*, in_channels: int = 1, num_classes: int = 10, width: int = 32, pad_value: int = 0) -> nn.Module:
    """Build the network of the quick start."""
    return DigitsResNet(in_channels, num_classes, width, pad_value)
