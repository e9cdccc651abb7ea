"""What a data set is: labelled images as integer pixels, with their normalisation stated beside them."""

import hashlib
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ...runtime.errors import ConfigError

__all__ = ["Dataset", "Images", "Labels", "holdout", "make_dataset", "stratified_split"]

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]
VALUES = np.arange(256, dtype=np.int64)
WHOLE: tuple[Literal["C", "W"], ...] = ("C", "W")  # torch refuses to share what it could not write
CHUNK = 4096  # images counted at a time: memory stays small for memory-mapped sets


@dataclass(frozen=True)
class Dataset:
    """A labelled set of images: uint8 ``[N, C, H, W]`` and int64 ``[N]``, for training and for testing.

    Training images may be larger than test images: augmentation cuts them down to the size that the network reads.
    Arrays may be memory-mapped.
    A network reads ``(pixel / pixel_range − mean) / std`` in float32; mean and std (one figure a channel) come from
    the training part alone. ``sha256`` is the digest of all four arrays.
    """

    name: str
    train_images: Images
    train_labels: Labels
    test_images: Images
    test_labels: Labels
    classes: tuple[str, ...]
    pixel_range: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    sha256: str

    @property
    def channels(self) -> int:
        """Number of image channels."""
        return int(self.train_images.shape[1])

    def normalise(self, images: Images) -> NDArray[np.float32]:
        """Return float32 ``(images / pixel_range − mean) / std`` of the same shape: what a network takes."""
        mean = np.asarray(self.mean, np.float32).reshape(-1, 1, 1)
        std = np.asarray(self.std, np.float32).reshape(-1, 1, 1)
        return (images.astype(np.float32) / np.float32(self.pixel_range) - mean) / std

    def input_metadata(self) -> dict[str, Any]:
        """Return the preprocessing as it is written into a model file (JSON values)."""
        _, channels, height, width = self.test_images.shape
        return {
            "layout": "NCHW",
            "channels": channels,
            "height": height,
            "width": width,
            "mean": list(self.mean),
            "std": list(self.std),
            "range": self.pixel_range,
        }


def make_dataset(
    name: str,
    train: tuple[NDArray[Any], NDArray[Any]],
    test: tuple[NDArray[Any], NDArray[Any]],
    *,
    classes: tuple[str, ...],
    pixel_range: float = 255.0,
) -> Dataset:
    """Assemble a :class:`Dataset`: fix dtypes, measure mean and std on the training part, take the digest."""
    images: Images = np.require(train[0], np.uint8, WHOLE)
    labels: Labels = np.require(train[1], np.int64, WHOLE)
    test_images: Images = np.require(test[0], np.uint8, WHOLE)
    test_labels: Labels = np.require(test[1], np.int64, WHOLE)
    digest = hashlib.sha256()
    parts: tuple[NDArray[Any], ...] = (images, labels, test_images, test_labels)
    for array in parts:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(array.data.cast("B"))
    # Exact sums of integers, so that the figures do not depend on the machine or on NumPy's order of summation.
    pixels = images.size // images.shape[1]
    counts = np.zeros((images.shape[1], 256), np.int64)
    for start in range(0, len(images), CHUNK):
        for channel, count in enumerate(counts):
            count += np.bincount(images[start : start + CHUNK, channel].ravel(), minlength=256)
    total, squares = counts @ VALUES, counts @ VALUES**2
    mean = total / pixels
    std = np.sqrt(np.maximum(squares / pixels - mean**2, 1e-12))
    return Dataset(
        name=name,
        train_images=images,
        train_labels=labels,
        test_images=test_images,
        test_labels=test_labels,
        classes=classes,
        pixel_range=pixel_range,
        mean=tuple(round(float(m / pixel_range), 6) for m in mean),
        std=tuple(round(float(s / pixel_range), 6) for s in std),
        sha256=digest.hexdigest(),
    )


def stratified_split(labels: Labels, fraction: float, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return sorted indices (kept, taken): ``fraction`` of each class is taken, chosen by ``seed``."""
    random = np.random.default_rng(seed)
    taken = [
        random.permutation(members)[: round(fraction * len(members))]
        for members in (np.flatnonzero(labels == label) for label in np.unique(labels))
    ]
    chosen = np.sort(np.concatenate(taken)).astype(np.int64)
    kept = np.setdiff1d(np.arange(len(labels), dtype=np.int64), chosen, assume_unique=True)
    return kept, chosen


def holdout(dataset: Dataset, fraction: float, seed: int = 0) -> Dataset:
    """Return a data set whose test part is a held-out ``fraction`` of the training part: settings are chosen on it.

    The real test images are not in the result, so a choice of settings cannot look at them. Normalisation is kept.
    """
    if not 0 < fraction < 1:
        raise ConfigError(f"the held-out fraction must lie between 0 and 1, not {fraction}")
    kept, taken = stratified_split(dataset.train_labels, fraction, seed)
    if len(kept) < 2 or not len(taken):
        raise ConfigError(
            f"train.holdout = {fraction:g} leaves {len(kept)} images of {dataset.name} to train on and holds out"
            f" {len(taken)}: choose a share that leaves some of both"
        )
    return Dataset(
        name=f"{dataset.name} (held out {fraction:g})",
        train_images=dataset.train_images[kept],
        train_labels=dataset.train_labels[kept],
        test_images=dataset.train_images[taken],
        test_labels=dataset.train_labels[taken],
        classes=dataset.classes,
        pixel_range=dataset.pixel_range,
        mean=dataset.mean,
        std=dataset.std,
        sha256=dataset.sha256,
    )
