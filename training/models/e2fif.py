"""Super-resolution by a binary network after E2FIF (Song, Lang, Wei, Zhang, IEEE TIP 2023; arXiv 2207.06893).

Every binary convolution has a skip of floats around it, the ends of the body too, and the tail is one float convolution
with a pixel shuffle: floats flow from end to end. The block, its order and its constants are those of the authors'
program (github.com/pppLang/E2FIF, ``model/edsr_e2fif.py``). Two things are ours: RSign's learned thresholds in the
place of a plain sign, and a second skip from the input to the pixel shuffle, a float convolution that starts as bicubic
interpolation, so that short trainings start from there.

For ``train.model = "latentbit.training.models.e2fif:e2fif_x2"``.
"""

from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from ..data.resizing import resize
from ..layers.binary import BinaryConv2d, RSign

__all__ = ["E2FIF", "e2fif_x2", "e2fif_x4", "float_x2", "float_x4"]

SLOPE = 0.1
"""Of the leaky ReLU, as published."""
RESIDUAL = 0.1
"""First value of the scale of batch norms: what a block adds is small beside what its skip carries."""
MIDDLE = 0.5
"""Taken off the input, whose values lie between 0 and 1: what lies outside the image is grey then, not black."""


def _convolution(channels: int, binary: bool, pad_value: int) -> nn.Sequential:
    if not binary:
        return nn.Sequential(
            nn.ReLU(), nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)
        )
    convolution = BinaryConv2d(channels, channels, 3, padding=1, pad_value=pad_value)
    return nn.Sequential(RSign(channels), convolution, nn.BatchNorm2d(channels))


class Block(nn.Module):
    """y = leaky(norm(conv(sign(x))) + x), then norm(conv(sign(y))) + y; ReLU for sign in the float twin."""

    def __init__(self, channels: int, *, binary: bool, pad_value: int) -> None:
        super().__init__()
        self.first = _convolution(channels, binary, pad_value)
        self.act = nn.LeakyReLU(SLOPE)
        self.second = _convolution(channels, binary, pad_value)

    def forward(self, x: Tensor) -> Tensor:
        """``[N, channels, H, W]`` to the same."""
        y = self.act(self.first(x) + x)
        result: Tensor = self.second(y) + y
        return result


class E2FIF(nn.Module):
    """``[N, 1, H, W]`` of values from 0 to 1 to ``[N, 1, scale·H, scale·W]``: ``blocks`` of ``width`` channels.

    ``binary`` False is the float twin: float convolutions behind ReLU in the place of binary ones behind a sign.
    """

    def __init__(
        self,
        *,
        scale: int,
        in_channels: int = 1,
        width: int = 32,
        blocks: int = 8,
        pad_value: int = 0,
        binary: bool = True,
    ) -> None:
        super().__init__()
        self.head = nn.Conv2d(in_channels, width, 3, padding=1)
        self.body = nn.Sequential(*(Block(width, binary=binary, pad_value=pad_value) for _ in range(blocks)))
        self.tail = nn.Conv2d(width, in_channels * scale**2, 3, padding=1)
        self.skip = nn.Conv2d(in_channels, in_channels * scale**2, 5, padding=2, padding_mode="replicate")
        self.shuffle = nn.PixelShuffle(scale)
        with torch.no_grad():
            self.skip.weight.copy_(_interpolation(in_channels, scale))
        for name, parameter in self.named_parameters():
            if name in ("skip.bias", "tail.weight", "tail.bias"):
                nn.init.zeros_(parameter)
        for norm in self.body.modules():
            if isinstance(norm, nn.BatchNorm2d):
                nn.init.constant_(norm.weight, RESIDUAL)

    def forward(self, x: Tensor) -> Tensor:
        """Enlarge luminance images."""
        features = self.head(x - MIDDLE)
        result: Tensor = self.shuffle(self.tail(self.body(features) + features) + self.skip(x))
        return result


def _interpolation(channels: int, scale: int) -> Tensor:
    """Return weights ``[channels·scale², channels, 5, 5]`` that interpolate as MATLAB's bicubic ``imresize`` does."""
    weights = torch.zeros(channels, scale, scale, channels, 5, 5)
    for row in range(5):
        for column in range(5):
            point = np.zeros((9, 9))
            point[2 + row, 2 + column] = 1
            enlarged = resize(point, (9 * scale, 9 * scale))[4 * scale : 5 * scale, 4 * scale : 5 * scale]
            for channel in range(channels):
                weights[channel, :, :, channel, row, column] = torch.from_numpy(enlarged)
    return weights.flatten(0, 2)


e2fif_x2 = partial(E2FIF, scale=2)
"""The binary network that doubles height and width."""

e2fif_x4 = partial(E2FIF, scale=4)
"""The binary network that makes height and width four times as large."""

float_x2 = partial(E2FIF, scale=2, binary=False)
"""The float twin of :data:`e2fif_x2`."""

float_x4 = partial(E2FIF, scale=4, binary=False)
"""The float twin of :data:`e2fif_x4`."""
