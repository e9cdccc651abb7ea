"""What a finished training run must agree with, computed from what it left and nothing else."""

from pathlib import Path

import torch

from latentbit.training.data.catalogue import load
from latentbit.training.loop.loading import load_network

__all__ = ["accuracy_of"]


def accuracy_of(folder: Path, data: str = "digits", image_size: int = 0) -> float:
    """Return the share of test images that the network stored in ``folder`` names rightly."""
    images = load(data, image_size=image_size)
    network = load_network(folder).eval()
    with torch.no_grad():
        parts = torch.from_numpy(images.normalise(images.test_images)).split(500)
        answers = torch.cat([network(part).argmax(1) for part in parts])
    return float((answers.numpy() == images.test_labels).mean())
