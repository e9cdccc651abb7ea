"""Batches of a data set on the device that trains: order, augmentation and normalisation, all from (seed, step)."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from ...runtime.errors import ConfigError
from .augment import centre_crop, find_augmentation
from .dataset import Dataset, Images
from .draws import generator, seed_of, seeded
from .own import OwnData

__all__ = ["Batches", "ImageBatches", "OwnBatches", "make_batches"]

RESIDENT_BYTES = 8 << 30
"""Sets up to this size are kept on the device whole; larger ones stay where they are and are gathered per batch."""
EVALUATED = 500
"""Samples of a batch that is only looked at."""


class Batches:
    """The training part of a data set, of ``count`` samples, cut into batches of ``size`` for ``processes`` processes.

    ``tested`` counts the samples that it is measured on.
    A last batch that leaves a process one sample or none is dropped: batch norm cannot learn from it. With ``whole`` an
    epoch has full batches alone. Raises :class:`ConfigError` where that leaves no batch.
    """

    def __init__(
        self,
        count: int,
        tested: int,
        *,
        size: int,
        seed: int,
        device: torch.device,
        whole: bool = False,
        processes: int = 1,
    ) -> None:
        self.count, self.tested, self.size, self.seed, self.device = count, tested, size, seed, device
        if min(count, size) < 2 * processes:
            raise ConfigError(
                f"{count} training samples in batches of {size} are too few for {processes} process"
                f"{'es' * (processes > 1)}: batch norm needs at least two for each; lower train.holdout, or raise"
                " train.batch_size"
            )
        full, rest = divmod(count, size)
        self.steps = max(full, 1) if whole else full + (rest >= 2 * processes)

    def order(self, epoch: int) -> Tensor:
        """Return the row numbers of the training samples in the order of ``epoch``."""
        return torch.randperm(self.count, generator=generator(self.seed, 0, epoch))

    def get(self, rows: Tensor, step: int, rank: int = 0) -> tuple[Tensor, Any]:
        """Return inputs ``[n, …]`` and targets of ``rows`` on the device.

        What is drawn at random follows from the step and the rank of this process.
        """
        raise NotImplementedError

    def test_parts(self, count: int | None = None) -> Iterator[tuple[Tensor, Any]]:
        """Yield the first ``count`` samples (all) that this run is measured on, inputs on the device, in parts."""
        raise NotImplementedError


class ImageBatches(Batches):
    """Labelled images: float32 ``[n, C, H, W]``, augmented and normalised on the device, and labels int64 ``[n]``.

    A transform of the user's, which ``augment`` names and which lies in the folder ``code``, is tried on two images:
    :class:`ConfigError` where it does not take them.
    """

    def __init__(self, dataset: Dataset, *, augment: str, device: torch.device, code: str = "", **options: Any) -> None:
        super().__init__(len(dataset.train_labels), len(dataset.test_labels), device=device, **options)
        self.dataset = dataset
        self.augment = find_augmentation(augment, code=code, pixel_range=dataset.pixel_range)
        self.sides = dataset.test_images.shape[2:]
        resident = dataset.train_images.nbytes <= RESIDENT_BYTES
        self.images: Tensor | Images = dataset.train_images
        if resident:
            self.images = torch.from_numpy(np.ascontiguousarray(dataset.train_images)).to(device)
        self.labels = torch.from_numpy(dataset.train_labels).to(device)
        self.mean = torch.tensor(dataset.mean, device=device).view(-1, 1, 1)
        self.std = torch.tensor(dataset.std, device=device).view(-1, 1, 1)
        self._augmented(torch.arange(2), 0)

    def order(self, epoch: int) -> Tensor:
        """Return the order of an epoch where the images lie."""
        order = super().order(epoch)
        return order.to(self.device) if isinstance(self.images, Tensor) else order

    def get(self, rows: Tensor, step: int, rank: int = 0) -> tuple[Tensor, Tensor]:
        """Return normalised images and labels of ``rows``."""
        return self.normalise(self._augmented(rows, step, rank)), self.labels[rows.to(self.device)]

    def _augmented(self, rows: Tensor, step: int, rank: int = 0) -> Tensor:
        """Return training images ``[n, C, H, W]``, changed at random, of the size that the network reads."""
        if isinstance(self.images, Tensor):
            pixels = self.images[rows.to(self.device)]
        else:
            pixels = torch.from_numpy(self.images[rows.numpy()]).to(self.device)
        pixels = self.augment(pixels, generator(self.seed, 1, step, *((rank,) if rank else ())), self.sides)
        return centre_crop(pixels, self.sides)

    def normalise(self, pixels: Tensor) -> Tensor:
        """Do what :meth:`.dataset.Dataset.normalise` does, on the device."""
        return (pixels.to(self.device).float() / self.dataset.pixel_range - self.mean) / self.std

    def test_parts(self, count: int | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield test images in parts that keep their place in memory: a set may be mapped."""
        images, labels = self.dataset.test_images[:count], torch.from_numpy(self.dataset.test_labels)[:count]
        for start in range(0, len(labels), EVALUATED):
            part = slice(start, start + EVALUATED)
            yield self.normalise(torch.from_numpy(images[part])), labels[part]


class OwnBatches(Batches):
    """Samples of the user's own, as his data set gives them."""

    def __init__(self, data: OwnData, *, device: torch.device, **options: Any) -> None:
        super().__init__(len(data.train), len(data.test), device=device, **options)
        self.data = data

    def get(self, rows: Tensor, step: int, rank: int = 0) -> tuple[Tensor, Any]:
        """Return what the data set gives for ``rows``; what it draws at random follows from the step."""
        with seeded(seed_of(self.seed, 1, step, *((rank,) if rank else ()))):
            inputs, targets = self.data.read(self.data.train, rows.tolist())
        return self._placed(inputs), self._placed(targets)

    def test_parts(self, count: int | None = None) -> Iterator[tuple[Tensor, Any]]:
        """Yield test samples in parts."""
        rows = range(len(self.data.test))[:count]
        for start in range(0, len(rows), EVALUATED):
            inputs, targets = self.data.read(self.data.test, rows[start : start + EVALUATED])
            yield self._placed(inputs), targets

    def _placed(self, values: Any) -> Any:
        return pytree.tree_map_only(Tensor, lambda value: value.to(self.device), values)


def make_batches(data: Dataset | OwnData, *, augment: str, code: str = "", **options: Any) -> Batches:
    """Return the batches of a data set; the options are those of :class:`Batches`."""
    if isinstance(data, OwnData):
        return OwnBatches(data, **options)
    return ImageBatches(data, augment=augment, code=code, **options)
