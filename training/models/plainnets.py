"""Binary networks without shortcuts: VGG-small and a multi-layer perceptron."""

from torch import Tensor, nn

from ..layers.binary import RPReLU
from .blocks import BinaryHead, PlainBlock, build_stem

__all__ = ["BinaryMLP", "BinaryVGG"]


class BinaryVGG(nn.Module):
    """Float 3×3, five binary 3×3 in three pooled stages, a binary dense layer, a float classifier.

    VGG-small as in LQ-Nets (arXiv 1807.10029), 128-128-256-256-512-512, its dense layer binary too.
    """

    def __init__(
        self,
        *,
        in_channels: int = 3,
        num_classes: int = 10,
        width: int = 128,
        image_size: int = 32,
        pad_value: int = 0,
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(*build_stem("cifar", in_channels, width), RPReLU(width))
        self.features = nn.Sequential(
            PlainBlock(width, width, pool=True, pad_value=pad_value),
            PlainBlock(width, 2 * width, pad_value=pad_value),
            PlainBlock(2 * width, 2 * width, pool=True, pad_value=pad_value),
            PlainBlock(2 * width, 4 * width, pad_value=pad_value),
            PlainBlock(4 * width, 4 * width, pool=True, pad_value=pad_value),
        )
        self.flatten = nn.Flatten()
        self.hidden = BinaryHead(4 * width * (image_size // 8) ** 2, 4 * width)
        self.head = nn.Linear(4 * width, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """``[N, in_channels, image_size, image_size]`` to logits ``[N, num_classes]``."""
        result: Tensor = self.head(self.hidden(self.flatten(self.features(self.stem(x)))))
        return result


class BinaryMLP(nn.Module):
    """A float dense layer, two binary ones, a float classifier; every image has ``image_size`` pixels a side."""

    def __init__(self, *, in_channels: int = 1, num_classes: int = 10, width: int = 512, image_size: int = 28) -> None:
        super().__init__()
        in_features = in_channels * image_size**2
        self.flatten = nn.Flatten()
        self.stem = nn.Sequential(nn.Linear(in_features, width, bias=False), nn.BatchNorm1d(width))
        self.hidden = nn.Sequential(BinaryHead(width, width), BinaryHead(width, width))
        self.head = nn.Linear(width, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """``[N, in_channels, image_size, image_size]`` to logits ``[N, num_classes]``."""
        result: Tensor = self.head(self.hidden(self.stem(self.flatten(x))))
        return result
