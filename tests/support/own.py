"""A user's code as files: a network, data, losses and metrics, as the pipeline's tests and those of training name them.

A folder of it is made for each test, for a module that was imported stays imported.
"""

from pathlib import Path

__all__ = ["write_code"]

_NETWORKS = '''
import torch
from torch import nn
from latentbit.training import binarize

WIDTH = 8

def body(channels):
    return nn.Sequential(
        nn.Conv2d(channels, WIDTH, 3, padding=1), nn.BatchNorm2d(WIDTH), nn.ReLU(),
        nn.Conv2d(WIDTH, 16, 3, stride=2, padding=1), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(),
    )

def classifier(in_channels, num_classes):
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, num_classes))
    return binarize(nn.Sequential(body(in_channels), head), torch.rand(4, in_channels, 8, 8))

class Heads(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.pool = body(1), nn.AdaptiveAvgPool2d(1)
        self.kind, self.place = nn.Linear(16, 3), nn.Linear(16, 2)

    def forward(self, x):
        h = torch.flatten(self.pool(self.body(x)), 1)
        return {"kind": self.kind(h), "place": self.place(h)}

def heads():
    return binarize(Heads(), torch.rand(4, 1, 8, 8))

def mask():
    up = nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(16, 1, 1))
    return binarize(nn.Sequential(body(1), up), torch.rand(4, 1, 8, 8))

class Sound(nn.Module):
    """Sound [C, T] as images of one row: 1-D layers that stay float would do as well."""

    def __init__(self, channels, classes):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(channels, WIDTH, (1, 5), padding=(0, 2)), nn.BatchNorm2d(WIDTH), nn.ReLU(),
            nn.Conv2d(WIDTH, 16, (1, 3), padding=(0, 1)), nn.BatchNorm2d(16), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, classes),
        )

    def forward(self, x):
        return self.net(x[:, :, None])

def sound(in_channels, num_classes):
    return binarize(Sound(in_channels, num_classes), torch.rand(4, in_channels, 32))

def dense(in_channels, num_classes):
    net = nn.Sequential(nn.Linear(in_channels, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, num_classes))
    return binarize(net, torch.randn(8, in_channels))
'''

_DATA = '''
import torch
from torch.utils.data import Dataset, TensorDataset

def drawn(count, seed, *shape):
    return torch.rand(count, *shape, generator=torch.Generator().manual_seed(seed))

def marked(count, seed):
    """Images [1, 8, 8] with a line across, down, or a dot; what it is, and where."""
    images = 0.3 * drawn(count, seed, 1, 8, 8)
    places = (1 + 6 * drawn(count, seed + 1, 2)).long()
    kinds = torch.arange(count) % 3
    for image, kind, (row, column) in zip(images[:, 0], kinds.tolist(), places.tolist()):
        (image[row], image[:, column], image[row - 1 : row + 2, column - 1 : column + 2])[kind].add_(0.7)
    return images, kinds, places / 8

class Marked(Dataset):
    classes = ("across", "down", "dot")

    def __init__(self, count, seed, noisy=False):
        self.images, self.kinds, self.places = marked(count, seed)
        self.noisy = noisy

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        image = self.images[index]
        return (image + 0.1 * torch.rand(1) if self.noisy else image), int(self.kinds[index])

class Placed(Marked):
    def __getitem__(self, index):
        return self.images[index], {"kind": self.kinds[index], "place": self.places[index]}

def classes():
    return Marked(240, 1, noisy=True), Marked(90, 2)

def single():
    return Marked(240, 1)

def places():
    return Placed(240, 1), Placed(90, 2)

def masks():
    parts = [marked(count, seed)[0] for count, seed in ((240, 1), (60, 2))]
    train, test = (TensorDataset(images.double(), (images > 0.5).float()) for images in parts)
    return train, test

def sounds():
    def part(count, seed):
        labels = torch.arange(count) % 2
        waves = torch.sin(torch.arange(32) * (0.4 + labels[:, None].float()))
        return TensorDataset(waves[:, None] + 0.3 * drawn(count, seed, 1, 32), labels)
    return part(200, 1), part(60, 2)

def vectors():
    def part(count, seed):
        x = drawn(count, seed, 12) - 0.5
        return TensorDataset(x, (x[:, 0] > x[:, 1]).long())
    return part(300, 1), part(80, 2)

def images_of_ours(image_size=8):
    import numpy as np
    from latentbit.training import make_dataset
    parts = []
    for count, seed in ((240, 1), (90, 2)):
        images, kinds, _ = marked(count, seed)
        parts.append(((images * 255).byte().numpy(), kinds.numpy()))
    return make_dataset("marks", *parts, classes=("across", "down", "dot"))
'''

_TASKS = """
from torch.nn import functional as F

def of_places(outputs, targets):
    kind, place = outputs["kind"].float(), outputs["place"].float()
    return F.cross_entropy(kind, targets["kind"]) + F.mse_loss(place, targets["place"])

def of_masks(outputs, targets):
    return F.binary_cross_entropy_with_logits(outputs.float(), targets)

def not_a_scalar(outputs, targets):
    return outputs - targets

def broken(outputs, targets):
    raise RuntimeError("no luck")
"""

_METRICS = """
import numpy as np

def of_places(outputs, targets):
    right = (outputs["kind"].argmax(1) == targets["kind"]).mean()
    return {"right": right, "mse": np.square(outputs["place"] - targets["place"]).mean()}

def overlap(outputs, targets):
    found = outputs > 0
    return (found & (targets > 0)).sum() / max(1, (found | (targets > 0)).sum())

def words(outputs, targets):
    return "good"
"""


def write_code(folder: Path, prefix: str) -> Path:
    """Write the modules ``PREFIX_networks``, ``_data``, ``_tasks`` and ``_metrics`` into a folder, and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in (("networks", _NETWORKS), ("data", _DATA), ("tasks", _TASKS), ("metrics", _METRICS)):
        (folder / f"{prefix}_{name}.py").write_text(text, encoding="utf-8")
    return folder
