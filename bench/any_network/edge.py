"""Networks as people write them who build for small devices, with random weights."""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["EDGE"]


def _conv(inputs: int, outputs: int, kernel: int = 3, stride: int = 1, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


def _separable(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(_conv(inputs, inputs, stride=stride, groups=inputs), _conv(inputs, outputs, 1))


def person_detection() -> nn.Module:
    """MobileNetV1 of width 0.25 for 96×96 grey images: a person, or none (the visual wake words of MLPerf Tiny)."""
    widths = [8, 16, 32, 32, 64, 64, 128, 128, 128, 128, 128, 128, 256, 256]
    strides = [1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1]
    blocks = [_separable(*pair, stride) for *pair, stride in zip(widths, widths[1:], strides, strict=False)]
    return nn.Sequential(_conv(1, 8, stride=2), *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(256, 2))


def ds_cnn() -> nn.Module:
    """DS-CNN for keyword spotting: 49 frames of 10 cepstral coefficients, 12 words (MLPerf Tiny)."""
    first = nn.Sequential(nn.Conv2d(1, 64, (10, 4), 2, (5, 1)), nn.BatchNorm2d(64), nn.ReLU())
    blocks = [_separable(64, 64) for _ in range(4)]
    return nn.Sequential(first, nn.Dropout(0.2), *blocks, nn.AvgPool2d((25, 5)), nn.Flatten(), nn.Linear(64, 12))


class _TcBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = nn.Conv1d(inputs, outputs, 9, 2, 4, bias=False)
        self.second = nn.Conv1d(outputs, outputs, 9, 1, 4, bias=False)
        self.norms = nn.ModuleList(nn.BatchNorm1d(outputs) for _ in range(3))
        self.shortcut = nn.Conv1d(inputs, outputs, 1, 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norms[0](self.first(x)))
        y = self.norms[1](self.second(y))
        return F.relu(y + F.relu(self.norms[2](self.shortcut(x))))


def tc_resnet8() -> nn.Module:
    """TC-ResNet8 for keyword spotting (arXiv 1904.03814): convolutions over time, 40 coefficients, 101 frames."""
    blocks = [_TcBlock(*pair) for pair in ((16, 24), (24, 32), (32, 48))]
    head = [nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Dropout(0.5), nn.Linear(48, 12)]
    return nn.Sequential(nn.Conv1d(40, 16, 3, padding=1, bias=False), *blocks, *head)


def anomaly_autoencoder() -> nn.Module:
    """The autoencoder of MLPerf Tiny for sounds of machines: 640 values through 8 and back."""
    sizes = [640, 128, 128, 128, 128, 8, 128, 128, 128, 128]
    layers = [nn.Sequential(nn.Linear(*pair), nn.BatchNorm1d(pair[1]), nn.ReLU()) for pair in pairwise(sizes)]
    return nn.Sequential(*layers, nn.Linear(128, 640))


class UNet(nn.Module):
    """A UNet of three levels with transposed convolutions; ``[N, 3, H, W]`` to ``[N, 2, H, W]``."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.ModuleList(nn.Sequential(_conv(i, o), _conv(o, o)) for i, o in ((3, 16), (16, 32), (32, 64)))
        self.bottom = nn.Sequential(_conv(64, 128), _conv(128, 128))
        self.up = nn.ModuleList(nn.ConvTranspose2d(2 * c, c, 2, 2) for c in (64, 32, 16))
        self.merge = nn.ModuleList(nn.Sequential(_conv(2 * c, c), _conv(c, c)) for c in (64, 32, 16))
        self.head = nn.Conv2d(16, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the classes of every pixel."""
        skips = []
        for block in self.down:
            x = block(x)
            skips.append(x)
            x = F.max_pool2d(x, 2)
        x = self.bottom(x)
        for up, merge in zip(self.up, self.merge, strict=True):
            x = merge(torch.cat([up(x), skips.pop()], 1))
        return self.head(x)


class Detector(nn.Module):
    """A single-shot detector on two scales; the output is a tuple of scores and boxes ``[N, A, 4]``."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(_conv(3, 16, stride=2), _separable(16, 32, 2), _separable(32, 64, 2))
        self.deeper = _separable(64, 128, 2)
        self.lateral = nn.Conv2d(128, 64, 1)
        self.scores = nn.Sequential(_conv(64, 64), nn.Conv2d(64, 3 * 5, 1))
        self.boxes = nn.Sequential(_conv(64, 64), nn.Conv2d(64, 3 * 4, 1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return scores ``[N, A, 5]`` and boxes ``[N, A, 4]`` for three anchors a place."""
        fine = self.stem(x)
        coarse = self.lateral(self.deeper(fine))
        fine = fine + F.interpolate(coarse, size=fine.shape[2:], mode="nearest")
        scores, boxes = [], []
        for level in (fine, coarse):
            scores.append(self.scores(level).permute(0, 2, 3, 1).flatten(1, 2).unflatten(2, (3, 5)).flatten(1, 2))
            boxes.append(self.boxes(level).permute(0, 2, 3, 1).flatten(1, 2).unflatten(2, (3, 4)).flatten(1, 2))
        return torch.cat(scores, 1).sigmoid(), torch.cat(boxes, 1)


def audio_conv1d() -> nn.Module:
    """A Conv1d network over raw sound: 8,000 samples, 10 classes (the M5 of arXiv 1610.00087)."""

    def block(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
        return nn.Sequential(
            nn.Conv1d(inputs, outputs, kernel, stride), nn.BatchNorm1d(outputs), nn.ReLU(), nn.MaxPool1d(4)
        )

    blocks = [block(1, 64, 80, 4), block(64, 64, 3), block(64, 128, 3), block(128, 256, 3)]
    return nn.Sequential(*blocks, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(256, 10))


class Recurrent(nn.Module):
    """Convolutions over a spectrogram ``[N, 1, 40, T]``, and an LSTM over what they find in time."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(_conv(1, 32, stride=2), _conv(32, 64), _conv(64, 64), nn.MaxPool2d((4, 1)))
        self.lstm = nn.LSTM(64 * 5, 64, batch_first=True)
        self.head = nn.Linear(64, 12)

    def forward(self, x: Tensor) -> Tensor:
        """Return the scores of 12 words."""
        frames = self.features(x).flatten(1, 2).transpose(1, 2)
        return self.head(self.lstm(frames)[0][:, -1])


class Crnn(nn.Module):
    """Reads a line of text: convolutions, and dense layers over every column ``[N, T, K]``."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            _conv(1, 32), nn.MaxPool2d(2), _conv(32, 64), nn.MaxPool2d(2), _conv(64, 128), nn.MaxPool2d((4, 1))
        )
        self.dense = nn.Sequential(nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 40))

    def forward(self, x: Tensor) -> Tensor:
        """Return the scores of 40 letters at every column."""
        return self.dense(self.features(x).flatten(1, 2).transpose(1, 2)).log_softmax(2)


class Landmarks(nn.Module):
    """Points of a face and whether there is one, as a dict; residual blocks with PReLU, on 64×64 images."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 32, 3, 2, 1), nn.PReLU(32))
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Conv2d(32, 32, 3, padding=1), nn.BatchNorm2d(32), nn.PReLU(32)) for _ in range(4)
        )
        self.points, self.presence = nn.Linear(32 * 16, 10), nn.Linear(32 * 16, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Return five points and a probability."""
        x = self.stem(x)
        for block in self.blocks:
            x = x + block(x)
        x = F.adaptive_avg_pool2d(x, 4).flatten(1)
        return {"points": self.points(x).view(-1, 5, 2), "presence": torch.sigmoid(self.presence(x))}


EDGE = {
    "person_detection": (person_detection, (1, 96, 96)),
    "ds_cnn": (ds_cnn, (1, 49, 10)),
    "tc_resnet8": (tc_resnet8, (40, 101)),
    "anomaly_autoencoder": (anomaly_autoencoder, (640,)),
    "unet": (UNet, (3, 96, 96)),
    "detector": (Detector, (3, 128, 128)),
    "audio_conv1d": (audio_conv1d, (1, 8000)),
    "lstm": (Recurrent, (1, 40, 100)),
    "text_line": (Crnn, (1, 32, 128)),
    "landmarks": (Landmarks, (3, 64, 64)),
}
"""By name: what builds the network, and the shape of one sample."""
