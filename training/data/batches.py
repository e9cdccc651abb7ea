"""Batches of a data set on the device that trains: order, augmentation and normalisation, all from (seed, step)."""

import numpy as np
import torch
from torch import Tensor

from .augment import centre_crop, find_augmentation
from .dataset import Dataset, Images, Labels

__all__ = ["Batches", "generator"]

RESIDENT_BYTES = 8 << 30
"""Sets up to this size are kept on the device whole; larger ones stay where they are and are gathered per batch."""


def generator(*key: int) -> torch.Generator:
    """Return a CPU generator whose state follows from ``key`` alone."""
    (seed,) = np.random.SeedSequence(key).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(seed) >> 1)


class Batches:
    """The training part of a data set, cut into batches of ``size``.

    A batch of one image is dropped: batch norm cannot learn from it. With ``whole`` an epoch has full batches alone.
    """

    def __init__(
        self,
        dataset: Dataset,
        *,
        size: int,
        augment: str,
        seed: int,
        device: torch.device,
        whole: bool = False,
    ) -> None:
        self.dataset, self.size, self.seed, self.device = dataset, size, seed, device
        self.augment, self.side = find_augmentation(augment), dataset.test_images.shape[-1]
        resident = dataset.train_images.nbytes <= RESIDENT_BYTES
        self.images: Tensor | Images = dataset.train_images
        if resident:
            self.images = torch.from_numpy(np.ascontiguousarray(dataset.train_images)).to(device)
        self.labels = torch.from_numpy(dataset.train_labels).to(device)
        self.mean = torch.tensor(dataset.mean, device=device).view(-1, 1, 1)
        self.std = torch.tensor(dataset.std, device=device).view(-1, 1, 1)
        full, rest = divmod(len(dataset.train_labels), size)
        self.steps = max(full, 1) if whole else full + (rest > 1)

    def order(self, epoch: int) -> Tensor:
        """Return the row numbers of the training images in the order of ``epoch``, where the images lie."""
        order = torch.randperm(len(self.dataset.train_labels), generator=generator(self.seed, 0, epoch))
        return order.to(self.device) if isinstance(self.images, Tensor) else order

    def get(self, rows: Tensor, step: int, rank: int = 0) -> tuple[Tensor, Tensor]:
        """Return normalised float32 images ``[n, C, H, W]`` and labels ``[n]`` of ``rows``.

        The augmentation is drawn from the step and the rank of this process.
        """
        if isinstance(self.images, Tensor):
            pixels = self.images[rows.to(self.device)]
        else:
            pixels = torch.from_numpy(self.images[rows.numpy()]).to(self.device)
        pixels = self.augment(pixels, generator(self.seed, 1, step, *((rank,) if rank else ())), self.side)
        return self.normalise(centre_crop(pixels, self.side)), self.labels[rows.to(self.device)]

    def normalise(self, pixels: Tensor) -> Tensor:
        """Do what :meth:`.dataset.Dataset.normalise` does, on the device."""
        return (pixels.to(self.device).float() / self.dataset.pixel_range - self.mean) / self.std

    def test(self) -> tuple[Images, Labels]:
        """Return the images and labels that this run is measured on in the end."""
        return self.dataset.test_images, self.dataset.test_labels
