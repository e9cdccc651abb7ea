"""You have a trained float network: it becomes a binary one that goes on from its weights, activations first.

    python examples/from_float.py

It takes half a minute: scikit-learn's digits, 8×8 pixels. The functions below are what train.model names;
docs/results.md compares them.
"""

from pathlib import Path

import torch
from torch import nn

from latentbit.export import export_onnx
from latentbit.training import binarize, load, load_network, train

FLOAT = Path("float/1-train")
"""The folder of the float run, in the current folder."""


def float_network() -> nn.Module:
    """Return your network as you trained it."""
    return nn.Sequential(
        *(nn.Conv2d(1, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU()),
        *(nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(64, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10)),
    )


def samples() -> torch.Tensor:
    """Return some real images, from which thresholds of the signs are set."""
    digits = load("digits")
    return torch.from_numpy(digits.normalise(digits.train_images[:64]))


def scratch() -> nn.Module:
    """Return the binary form of the network with weights that nobody trained."""
    return binarize(float_network(), samples())


def from_float() -> nn.Module:
    """Return the binary form over the trained weights; of your own file: network.load_state_dict(torch.load(…))."""
    return binarize(load_network(FLOAT), samples())


def main() -> None:
    """Train the float network, then the binary one from its weights; export."""
    code, common = str(Path(__file__).parent), {"data": "digits", "latent": "none", "learning_rate": 0.01}
    float_run = train(out=FLOAT, code=code, model="from_float:float_network", epochs=4, **common)
    print(f"float: {float_run.metrics['test_accuracy']:.3f} of the test images are right")
    # Up to real_weight_until the weights stay real and the activations alone are binary.
    stages = {"epochs": 8, "real_weight_until": 0.5}
    binary_run = train(out="binary", code=code, model="from_float:from_float", **common | stages)
    path = export_onnx(load_network("binary"), samples()[:4], "from_float.onnx")
    print(f"binary: {100 * binary_run.metrics['test_accuracy']:.1f}%, {path}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
