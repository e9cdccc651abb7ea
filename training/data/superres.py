"""Super-resolution: pairs of a small and a large image, for ``train.data = "latentbit.training.data.superres:sr_x2"``.

===================================  ===============================================================
``<root>/sr/BSDS500_train200``       images to learn from, of any size and format
``<root>/sr/BSD100/HR``              images that a run is measured on
``<root>/sr/{Set5,Set14}/HR``        more of them, for :func:`benchmark_images`
===================================  ===============================================================

``<root>`` is ``train.root``, or $LATENTBIT_DATA, or ~/.cache/latentbit/data. All is luminance, as in published
figures. The small image is the large one, shrunk by MATLAB's bicubic ``imresize`` and rounded to whole numbers.
"""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...runtime.errors import DataError, MissingExtraError
from ...runtime.pictures import as_meant
from .fetch import data_root
from .resizing import luminance, resize

__all__ = ["Centres", "Patches", "benchmark_images", "read_pairs", "sr_x2", "sr_x4"]

SUFFIXES = {".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"}
SIDE = 24
"""Side of the small image of a training pair."""
TESTED = 72
"""Side of the small image that a run is measured on."""
PATCHES = 3200
"""Pairs of an epoch."""
Grey = NDArray[np.uint8]
Pixels = tuple[Grey, Grey]
"""A small and a large image, ``[H, W]`` and ``[scale·H, scale·W]``."""
Pair = tuple[Tensor, Tensor]


def read_pairs(folder: Path, scale: int) -> dict[str, Pixels]:
    """Return the small and the large luminance ``[H, W]`` of every image in a folder, by file name without suffix.

    Images are cut at the bottom and the right to a multiple of ``scale``. DataError for a folder without images, and
    for a file that is none.
    """
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError:
        raise MissingExtraError("folders of images need pillow: pip install 'latentbit[train]'") from None
    files = sorted(path for path in folder.glob("*") if path.suffix.lower() in SUFFIXES)
    if not files:
        raise DataError(f"{folder} holds no images: put them there, or set train.root to the folder that holds sr/")
    found = {}
    for path in files:
        try:
            with Image.open(path) as image:
                whole = as_meant(image)
                pixels = np.asarray(whole if whole.mode == "L" else whole.convert("RGB"), np.uint8)
        except (OSError, UnidentifiedImageError, ValueError, SyntaxError) as error:
            raise DataError(f"{path} is no readable image ({error}): delete or replace it") from error
        large = luminance(pixels)
        height, width = (length // scale for length in large.shape)
        if not height or not width:
            raise DataError(f"{path} has {large.shape[1]}×{large.shape[0]} pixels: too few for a scale of {scale}")
        large = large[: height * scale, : width * scale]
        found[path.stem] = shrunk(large, scale), large
    return found


def shrunk(large: Grey, scale: int) -> Grey:
    """Return the small image of a large one, both ``[H, W]``."""
    height, width = (length // scale for length in large.shape)
    return np.clip(np.rint(resize(large, (height, width))), 0, 255).astype(np.uint8)


def benchmark_images(root: str | Path | None, name: str, scale: int) -> dict[str, Pixels]:
    """Return the pairs of a test set (Set5, Set14, BSD100), whole images of any size; errors as :func:`read_pairs`."""
    return read_pairs(data_root(root) / "sr" / name / "HR", scale)


class Patches:
    """``count`` random patches of pairs: small ``[1, side, side]``, large ``[1, scale·side, scale·side]``, 0 to 1.

    A pair of patches is turned and mirrored, both in the same way, by one of the eight symmetries of a square. What is
    drawn comes from torch's global generator. DataError where an image is smaller than a patch.
    ``sha256`` is the digest of all images of a run, None where nobody stated it.
    """

    sha256: str | None = None

    def __init__(self, pairs: Sequence[Pixels], scale: int, *, side: int = SIDE, count: int = PATCHES) -> None:
        check_sides(pairs, scale, side)
        self.pairs, self.side, self.count = list(pairs), side, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, row: int) -> Pair:
        return self.__getitems__([row])[0]

    def __getitems__(self, rows: Sequence[int]) -> list[Pair]:
        """Return patches of the images that these rows mean: row r is of image r modulo their number."""
        draws = torch.rand(len(rows), 2).tolist()
        turns = torch.randint(8, (len(rows),)).tolist()
        found = []
        for row, place, turn in zip(rows, draws, turns, strict=True):
            small, large = self.pairs[row % len(self.pairs)]
            top, left = (
                int(share * (length - self.side + 1)) for share, length in zip(place, small.shape, strict=True)
            )
            near, far = cut(small, large, top, left, self.side)
            found.append((turned(near, turn), turned(far, turn)))
        return found


class Centres:
    """The centres of pairs: small ``[1, side, side]``, large ``[1, scale·side, scale·side]``, 0 to 1.

    DataError where an image is smaller.
    """

    def __init__(self, pairs: Sequence[Pixels], scale: int, *, side: int = TESTED) -> None:
        check_sides(pairs, scale, side)
        self.pairs = []
        for small, large in pairs:
            top, left = ((length - side) // 2 for length in small.shape)
            self.pairs.append(cut(small, large, top, left, side))

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, row: int) -> Pair:
        small, large = self.pairs[row]
        return turned(small, 0), turned(large, 0)


def check_sides(pairs: Sequence[Pixels], scale: int, side: int) -> None:
    """Raise DataError where a small image does not hold a square of ``side``."""
    if (least := min(min(small.shape) for small, _ in pairs)) < side:
        raise DataError(f"an image has a side of {scale * least} pixels, and {scale * side} are cut out of it")


def cut(small: Grey, large: Grey, top: int, left: int, side: int) -> Pixels:
    """Return the square of ``side`` at a place of the small image, and the same of the large one."""
    scale = large.shape[0] // small.shape[0]
    height, width = (slice(scale * start, scale * (start + side)) for start in (top, left))
    return small[top : top + side, left : left + side], large[height, width]


def turned(image: Grey, turn: int) -> Tensor:
    """Return an image under one of the eight symmetries of a square, as float32 ``[1, H, W]`` from 0 to 1."""
    turned = np.rot90(image, turn % 4)
    return torch.from_numpy(np.ascontiguousarray(turned[:, ::-1] if turn >= 4 else turned)).float().div_(255)[None]


def _load(root: str, scale: int) -> tuple[Patches, Centres]:
    folder = data_root(root) / "sr"
    train, test = (read_pairs(folder / part, scale) for part in ("BSDS500_train200", "BSD100/HR"))
    patches = Patches(list(train.values()), scale)
    patches.sha256 = digest([train, test])
    return patches, Centres(list(test.values()), scale)


def digest(parts: Sequence[Mapping[str, Pixels]]) -> str:
    """Return the sha256 of the large images and their names; the small ones follow from them."""
    found = hashlib.sha256()
    for part in parts:
        for name, (_, large) in part.items():
            found.update(f"{name}{large.shape}".encode() + np.ascontiguousarray(large).data.cast("B"))
    return found.hexdigest()


def sr_x2(root: str = "") -> tuple[Patches, Centres]:
    """Return pairs for a network that doubles height and width: training patches, and the centres of test images."""
    return _load(root, 2)


def sr_x4(root: str = "") -> tuple[Patches, Centres]:
    """Return pairs for a network that makes height and width four times as large."""
    return _load(root, 4)
