"""The folder that ``pipeline init`` writes: a network, data and a configuration that run at once, to be changed."""

from pathlib import Path

from ..runtime.errors import StorageError
from ..runtime.files import make_folder, write_bytes

__all__ = ["write_starter"]

_NETWORK = '''\
"""The network. `train.model = "network:build"` in the configuration names the function below."""

import torch
from torch import nn

from latentbit.training import binarize


def build(in_channels: int, num_classes: int) -> nn.Module:
    """Return the network to train.

    It is called with those of these arguments that it takes: in_channels (the first size of an input), num_classes,
    image_size (the last size of an input), and width, pad_value, stem and downsample where [train] sets them. Any
    torch module will do. What it returns is trained as it is, so make layers binary here.
    """
    network = nn.Sequential(
        nn.Conv2d(in_channels, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.Conv2d(32, 32, 3, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(32, num_classes),
    )
    # The example says which shape the network reads; the first and the last layer stay in float.
    return binarize(network, torch.rand(8, in_channels, 16, 16))
'''

_DATA = '''\
"""The data. `train.data = "data:load"` in the configuration names the last function.

They are made up here, so that this folder runs at once: pictures of a line across, a line down, a diagonal or a dot.
"""

import torch
from torch import Tensor
from torch.utils.data import Dataset


class Shapes(Dataset[tuple[Tensor, int]]):
    """Pictures [1, 16, 16] in float32, each with the number of its class."""

    classes = ("across", "down", "diagonal", "dot")  # their names; without them classes are numbers

    def __init__(self, count: int, seed: int) -> None:
        random = torch.Generator().manual_seed(seed)
        self.images = 0.3 * torch.rand(count, 1, 16, 16, generator=random)
        self.labels = torch.randint(0, 4, (count,), generator=random).tolist()
        places = torch.randint(1, 15, (count, 2), generator=random).tolist()
        for image, label, (row, column) in zip(self.images[:, 0], self.labels, places, strict=True):
            parts = (image[row], image[:, column], image.diagonal(), image[row - 1 : row + 2, column - 1 : column + 2])
            parts[label].add_(0.7)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """Return input and target: augment and normalise here, as the network shall read it."""
        return self.images[index], self.labels[index]


def load() -> tuple[Shapes, Shapes]:
    """Return the data to train on and the data to test on.

    A single data set will do with train.holdout. Targets may be anything that torch's default_collate takes; what is no
    class number needs a loss of your own.
    """
    return Shapes(1200, seed=1), Shapes(400, seed=2)
'''

_CONFIG = """\
# Every key with its meaning: latentbit's training/settings.py and docs/pipeline.md.
#
#     pipeline run-all -c {name}.toml

[train]
model = "network:build"    # network.py in this folder, its function build
data = "data:load"         # data.py in this folder, its function load
# loss = "network:loss"      # loss(outputs, targets) -> scalar tensor; without it cross-entropy
# metric = "network:metric"  # metric(outputs, targets) -> number, of numpy arrays of all test data
epochs = 6
batch_size = 64
learning_rate = 0.01
latent = "none"            # L1 trains a second stream over the real weights beside the binary one

[fold]
samples = 400              # samples in the reference that the deployed model is checked against

[check]
latency_runs = 50
"""

_README = """\
# {name}

    pipeline run-all -c {name}.toml        # train, fold, export, run, check; runs/{name}/report.html
    pipeline show runs/{name}
    pipeline bundle runs/{name} -o {name}.zip
    python -m latentbit.runtime check {name}.zip      # on the device: it needs no torch

network.py builds the network, data.py the data, {name}.toml says how it is trained. Change them and run again: a stage
runs anew when its part of the configuration, its files or your code changed. The model is
runs/{name}/3-export/model.onnx.
"""


def write_starter(folder: Path) -> Path:
    """Write the files into a folder, and return the path of the configuration, named after the folder.

    Raises :class:`StorageError` where one of the files is there already, or the folder cannot be written.
    """
    name = folder.resolve().name or "network"
    texts = {"network.py": _NETWORK, "data.py": _DATA, f"{name}.toml": _CONFIG, "README.md": _README}
    for file in texts:
        if (folder / file).exists():
            raise StorageError(f"{folder / file} exists: name another folder, or remove it")
    make_folder(folder)
    for file, text in texts.items():
        write_bytes(folder / file, (text.replace("{name}", name)).encode())
    return folder / f"{name}.toml"
