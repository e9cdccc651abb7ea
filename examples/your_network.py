"""Your network in ten lines: any torch network becomes a binary one, is trained on real images, and is one file.

    python examples/your_network.py

It takes some seconds: scikit-learn's digits, 8×8 pixels.
"""

import torch
from sklearn.datasets import load_digits
from torch import nn

from latentbit.export import export_onnx
from latentbit.runtime import InferenceSession
from latentbit.training import binarize


def your_network() -> nn.Module:
    """Return an ordinary float network."""
    return nn.Sequential(
        *(nn.Conv2d(1, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU()),
        *(nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(64, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10)),
    )


def main() -> None:
    """Train, export, run."""
    torch.manual_seed(0)
    pixels, digits = load_digits(return_X_y=True)
    images, labels = torch.tensor(pixels, dtype=torch.float32).view(-1, 1, 8, 8) / 16, torch.tensor(digits)

    # The ten lines: the first and the last are latentbit's, what is between is training as ever.
    network = binarize(your_network(), images[:64])
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    for epoch in range(8):
        for group in optimizer.param_groups:
            group["lr"] = 0.01 * (1 - epoch / 8)
        for batch in torch.randperm(1400).split(64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(images[batch]), labels[batch]).backward()
            optimizer.step()
    path = export_onnx(network, images[:4], "your_network.onnx")

    session = InferenceSession(path)  # no torch from here on
    logits = session.run(None, {"input": images[1400:].numpy()})[0]
    right = float((logits.argmax(1) == digits[1400:]).mean())
    print(f"{path}: {path.stat().st_size:,} bytes, right on {100 * right:.1f}% of 397 images that it has not seen")


if __name__ == "__main__":
    main()
