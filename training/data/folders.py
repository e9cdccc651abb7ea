"""Folders of images in ImageNet's layout: ``<root>/NAME/{train,val}/<class>/<image>``.

Images are decoded once into memory-mapped arrays under the user's cache, so that training reads pixels at the speed of
the disk and a set may be larger than memory. Training images are kept larger than the network reads (8/7 of the side,
as 256 to 224 in common practice) for cropping at random; validation images are the centre crop.
"""

import hashlib
import json
import os
from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap

from ...runtime.errors import DataError, MissingExtraError, StorageError
from ...runtime.files import atomic_path
from .dataset import Dataset, Images, Labels, make_dataset
from .fetch import data_root

__all__ = ["load_folder"]

SUFFIXES = {".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".webp"}
DECODER = 2
"""Part of the cache's name: counted up when :func:`decode` gives other pixels for the same file."""


def cache_root() -> Path:
    """Return the folder of decoded images: $LATENTBIT_CACHE, or ~/.cache/latentbit."""
    return Path(os.environ.get("LATENTBIT_CACHE") or "~/.cache/latentbit").expanduser()


def find_images(folder: Path) -> tuple[list[Path], list[int], list[str]]:
    """Return the image files, their class numbers and the sorted class names; DataError if there are none."""
    try:
        classes = sorted(entry.name for entry in folder.iterdir() if entry.is_dir())
        files = [
            (path, number)
            for number, name in enumerate(classes)
            for path in sorted((folder / name).rglob("*"))
            if path.suffix.lower() in SUFFIXES
        ]
    except OSError as error:
        raise DataError(f"{folder} cannot be read ({error.strerror}): expected {folder}/<class>/<image>") from error
    if not files:
        raise DataError(f"{folder} holds no images: expected {folder}/<class>/<image>")
    return [path for path, _ in files], [number for _, number in files], classes


def decode(path: Path, side: int) -> Images:
    """Return an image as RGB ``[3, side, side]``: shorter side resized to ``side``, the centre cut out."""
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError:
        raise MissingExtraError("folders of images need pillow: pip install 'latentbit[train]'") from None
    from ...runtime.classify.pixels import as_meant  # here: a network that reads no folder needs no session

    try:
        with Image.open(path) as image:
            picture = as_meant(image).convert("RGB")
    except (OSError, UnidentifiedImageError, ValueError, SyntaxError) as error:
        raise DataError(f"{path} is no readable image ({error}): delete or replace it") from error
    scale = side / min(picture.size)
    width, height = (max(side, round(length * scale)) for length in picture.size)
    left, top = (width - side) // 2, (height - side) // 2
    picture = picture.resize((width, height), Image.Resampling.BICUBIC).crop((left, top, left + side, top + side))
    return np.ascontiguousarray(np.asarray(picture, np.uint8).transpose(2, 0, 1))


def decoded(files: list[Path], side: int, load_side: int) -> Images:
    """Return all images as ``[N, 3, side, side]``, the centre of ``load_side``, from the cache if they are there.

    The cache's name follows from every file's path, size and time of change, so an altered folder is decoded anew.
    """
    states = [[str(path), (stat := path.stat()).st_size, stat.st_mtime_ns] for path in files]
    key = hashlib.sha256(json.dumps([DECODER, states, side, load_side]).encode()).hexdigest()[:32]
    target = cache_root() / f"images-{key}.npy"
    if not target.exists():
        start = (load_side - side) // 2
        try:
            with atomic_path(target) as part:
                array = open_memmap(part, "w+", np.uint8, (len(files), 3, side, side))
                for row, path in enumerate(files):
                    array[row] = decode(path, load_side)[:, start : start + side, start : start + side]
                array.flush()
        except StorageError as error:
            raise StorageError(f"{error}; LATENTBIT_CACHE names the folder of decoded images") from error
    images: Images = np.load(target, mmap_mode="c")  # copy on write: torch wants a writable array
    return images


def load_folder(name: str, root: Path | None, image_size: int) -> Dataset:
    """Load ``<root>/name``; training images have side ``image_size``·8/7, validation images ``image_size``."""
    base = data_root(root) / name
    train, train_labels, classes = find_images(base / "train")
    val, val_labels, val_classes = find_images(base / "val")
    if classes != val_classes:
        odd = sorted(set(classes) ^ set(val_classes))
        raise DataError(f"the classes of train and val in {base} differ: {', '.join(odd[:5])}")
    side = round(image_size * 8 / 7)
    labels: list[Labels] = [np.array(part, np.int64) for part in (train_labels, val_labels)]
    return make_dataset(
        name,
        (decoded(train, side, side), labels[0]),
        (decoded(val, image_size, side), labels[1]),
        classes=tuple(classes),
    )
