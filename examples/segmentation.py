"""Segmentation with a loss of one's own: where is the digit? A small UNet, binary inside, taught by overlap.

    python examples/segmentation.py

The digits are scikit-learn's real ones (8×8 pixels); each is put at a random place of a 16×16 image of noise, and the
network marks the pixels that belong to it. The loss is cross-entropy of pixels and the overlap of masks (Dice), through
``build_objective(..., task_loss=...)``, which adds a latent branch to any loss.
"""

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn

from latentbit.export import export_onnx
from latentbit.runtime import InferenceSession
from latentbit.training import Settings, binarize, build_objective

EPOCHS = 5


def scenes(digits: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Return images ``[N, 1, 16, 16]`` and masks of the same shape, 1 on the digit."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(len(digits), 1, 16, 16, generator=generator) * 0.6
    masks = torch.zeros_like(images)
    for number, (row, column) in enumerate(torch.randint(0, 9, (len(digits), 2), generator=generator).tolist()):
        images[number, 0, row : row + 8, column : column + 8] += digits[number] * 0.7
        masks[number, 0, row : row + 8, column : column + 8] = (digits[number] > 0.4).float()
    return images, masks


def _block(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU())


class UNet(nn.Module):
    """Two levels: down, up again, and what was seen before beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.down = _block(1, 16), _block(16, 32)
        self.bottom = nn.Sequential(_block(32, 64), _block(64, 32))
        self.up = _block(32 + 32, 16)
        self.head = nn.Conv2d(16 + 16, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits of the mask, ``[N, 1, H, W]``."""
        fine = self.stem(x)
        middle = self.down(F.max_pool2d(fine, 2))
        coarse = self.bottom(F.max_pool2d(middle, 2))
        middle = self.up(torch.cat([F.interpolate(coarse, scale_factor=2), middle], 1))
        head: Tensor = self.head(torch.cat([F.interpolate(middle, scale_factor=2), fine], 1))
        return head


def overlap(mask: Tensor, right: Tensor) -> Tensor:
    """Return the Dice coefficient of masks: 1 where they are the same."""
    return (2 * (mask * right).sum() + 1) / (mask.sum() + right.sum() + 1)


def loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return a loss of one's own; build_objective takes any function of the outputs and the targets."""
    return F.binary_cross_entropy_with_logits(outputs, targets) + 1 - overlap(outputs.sigmoid(), targets)


def main() -> None:
    """Train on 1,400 scenes, export, and mark the digits of 397 others."""
    torch.manual_seed(0)
    pixels = torch.tensor(load_digits().images, dtype=torch.float32) / 16
    images, masks = scenes(pixels[:1400], seed=1)
    network = binarize(UNet(), images[:64])
    objective = build_objective(network, Settings(latent="L3", epochs=EPOCHS), task_loss=loss)
    optimizer = torch.optim.Adam(objective.parameters(), lr=0.01)
    steps = EPOCHS * len(torch.arange(len(images)).split(64))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    step = 0
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(images)).split(64):
            objective.set_progress(step / steps, step)
            optimizer.zero_grad()
            objective(images[batch], masks[batch])[0].backward()
            optimizer.step()
            schedule.step()
            step += 1
    path = export_onnx(network, images[:4], "segmentation.onnx")  # the branch stays behind

    images, masks = scenes(pixels[1400:], seed=2)
    marked = InferenceSession(path).run(None, {"input": images.numpy()})[0] > 0
    dice = float(overlap(torch.from_numpy(marked.astype(np.float32)), masks))
    print(f"{path}: {path.stat().st_size:,} bytes, masks overlap to {100 * dice:.1f}% on 397 new scenes")


if __name__ == "__main__":
    main()
