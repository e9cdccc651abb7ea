"""Keyword spotting with Conv1d: a network over time that hears four words, binary inside.

    python examples/keyword_spotting.py

The words are synthetic, for no speech comes with the package: each is two vowels, a buzz of a pitch drawn anew whose
formants glide from those of the first vowel to those of the second, in noise. What the network reads is what it would
read of real speech: the logarithm of the energy in 40 bands on the mel scale, ``[N, 40, 98]`` for one second.
"""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from latentbit.export import export_onnx
from latentbit.runtime import InferenceSession
from latentbit.training import binarize

RATE = 16_000
VOWELS = {"a": (730, 1090), "e": (530, 1840), "i": (270, 2290), "o": (570, 840), "u": (300, 870)}
"""The first two formants in Hz (Peterson and Barney 1952)."""
WORDS = ("ai", "ia", "ou", "eo")


def sound(word: str, draw: np.random.Generator) -> NDArray[np.float64]:
    """Return one second in which a word is said: float64 ``[16000]``."""
    time = np.arange(RATE) / RATE
    start, length = draw.uniform(0.1, 0.4), draw.uniform(0.3, 0.5)
    part = np.clip((time - start) / length, 0, 1)
    pitch = draw.uniform(90, 220)
    voice = np.zeros(RATE)
    for harmonic in range(1, int(4000 / pitch)):
        frequency = harmonic * pitch
        gain = 0.0
        for formant in range(2):
            centre = (1 - part) * VOWELS[word[0]][formant] + part * VOWELS[word[1]][formant]
            gain = gain + 1 / (1 + ((frequency - centre) / 80) ** 2)
        voice += gain * np.sin(2 * np.pi * frequency * time + draw.uniform(0, 2 * np.pi))
    return voice * np.sin(np.pi * part) + draw.normal(0, 0.3, RATE)


def features(samples: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the logarithm of the energy in 40 mel bands, frames of 25 ms every 10 ms: float32 ``[40, 98]``."""
    frames = np.lib.stride_tricks.sliding_window_view(samples, 400)[::160] * np.hanning(400)
    power = np.abs(np.fft.rfft(frames, 512)) ** 2
    edges = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + 8000 / 700), 42) / 2595) - 1)
    hertz = np.arange(257) * RATE / 512
    low, centre, high = (edges[start : start + 40, None] for start in range(3))
    bands = np.clip(np.minimum((hertz - low) / (centre - low), (high - hertz) / (high - centre)), 0, None)
    energy: NDArray[np.float32] = np.log(power @ bands.T + 1e-3).T.astype(np.float32)
    return energy


def utterances(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return ``[count, 40, 98]`` features and the words said, by number."""
    draw = np.random.default_rng(seed)
    words = draw.integers(0, len(WORDS), count)
    heard = np.stack([features(sound(WORDS[word], draw)) for word in words])
    return torch.from_numpy(heard), torch.from_numpy(words)


class Block(nn.Module):
    """Two convolutions over time and a shortcut."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = nn.Conv1d(inputs, outputs, 9, stride=2, padding=4)
        self.second = nn.Conv1d(outputs, outputs, 9, padding=4)
        self.shortcut = nn.Conv1d(inputs, outputs, 1, stride=2)
        self.norms = nn.ModuleList(nn.BatchNorm1d(outputs) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        """``[N, C, T]`` to ``[N, O, T/2]``."""
        y = self.norms[0](self.first(x))
        return y + self.norms[1](self.second(y)) + self.norms[2](self.shortcut(x))


def main() -> None:
    """Train on 400 utterances, export, and listen to 200 others."""
    torch.manual_seed(0)
    heard, words = utterances(400, seed=1)
    net = nn.Sequential(
        nn.BatchNorm1d(40),
        nn.Conv1d(40, 32, 3, padding=1),
        Block(32, 48),
        Block(48, 64),
        nn.AdaptiveAvgPool1d(1),
        nn.Flatten(),
        nn.Linear(64, len(WORDS)),
    )
    net = binarize(net, heard[:64])
    epochs = 6
    optimizer = torch.optim.Adam(net.parameters(), lr=0.005)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    for _ in range(epochs):
        for batch in torch.randperm(len(heard)).split(32):
            optimizer.zero_grad()
            F.cross_entropy(net(heard[batch]), words[batch]).backward()
            optimizer.step()
        schedule.step()
    path = export_onnx(net, heard[:4], "keyword_spotting.onnx")

    heard, words = utterances(200, seed=2)
    scores = InferenceSession(path).run(None, {"input": heard.numpy()})[0]
    right = float((scores.argmax(1) == words.numpy()).mean())
    print(f"{path}: {path.stat().st_size:,} bytes, right on {100 * right:.1f}% of 200 new utterances")


if __name__ == "__main__":
    main()
