"""Image files to labels, by the preprocessing that the model file states; decoding is Pillow's (extra ``images``).

An image is turned to the model's number of channels, scaled so that its shorter side fits, and cut to the centre. Files
are read one at a time: memory does not grow with their number.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .errors import DataError, MissingExtraError, ModelError
from .session.session import InferenceSession

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Answer", "Preprocessing", "classify", "read_preprocessing"]


@dataclass(frozen=True)
class Answer:
    """The ``top`` labels of one image with their probabilities, best first."""

    path: Path
    top: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Preprocessing:
    """What a model wants of an image: its size, and ``(pixel − mean) / std`` of pixels in [0, 1], or raw bytes.

    ``raw`` models read uint8 ``[N, H, W, C]`` in [0, ``pixel_range``], the others float32 ``[N, C, H, W]``.
    """

    channels: int
    height: int
    width: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    pixel_range: float
    raw: bool

    def apply(self, image: "Image") -> NDArray[Any]:
        """Return the batch of one that the model takes."""
        image = image.convert("L" if self.channels == 1 else "RGB")
        scale = max(self.width / image.width, self.height / image.height)
        if scale != 1:
            size = (max(self.width, round(image.width * scale)), max(self.height, round(image.height * scale)))
            image = image.resize(size)
        left, top = (image.width - self.width) // 2, (image.height - self.height) // 2
        image = image.crop((left, top, left + self.width, top + self.height))
        pixels = np.asarray(image, np.float32).reshape(self.height, self.width, self.channels) / np.float32(255)
        if self.raw:
            quantised: NDArray[np.uint8] = np.rint(pixels[None] * self.pixel_range).astype(np.uint8)
            return quantised
        normal = (pixels - np.asarray(self.mean, np.float32)) / np.asarray(self.std, np.float32)
        return np.ascontiguousarray(np.moveaxis(normal, -1, 0)[None])


def read_preprocessing(session: InferenceSession) -> Preprocessing:
    """Return what the model file says of its input. Raises :class:`ModelError` where it says too little."""
    stated = _metadata(session, "input")
    try:
        return Preprocessing(
            channels=int(stated["channels"]),
            height=int(stated["height"]),
            width=int(stated["width"]),
            mean=tuple(map(float, stated["mean"])),
            std=tuple(map(float, stated["std"])),
            pixel_range=float(stated["range"]),
            raw=session.get_inputs()[0].type == "tensor(uint8)",
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(
            f"the model's metadata latentbit.input does not say how images are prepared ({error}): export it with them"
        ) from None


def classify(session: InferenceSession, paths: Iterable[str | PathLike[str]], *, top: int = 5) -> Iterator[Answer]:
    """Yield an answer for each image file, as it is read.

    Raises :class:`DataError` for a file that is no image, :class:`MissingExtraError` without Pillow,
    :class:`ModelError` for a model without labels or preprocessing.
    """
    wanted = read_preprocessing(session)
    labels = _metadata(session, "labels")
    if not isinstance(labels, list):
        raise ModelError("the model's metadata latentbit.labels holds no list of labels: export it with them")
    name = session.get_inputs()[0].name
    output = session.get_outputs()[0].name
    for path in paths:
        logits = session.run([output], {name: wanted.apply(_read(Path(path)))})[0][0].astype(np.float64)
        if len(logits) != len(labels):
            raise ModelError(f"the model has {len(logits)} outputs and {len(labels)} labels: export it again")
        shares = np.exp(logits - logits.max())
        shares /= shares.sum()
        best = np.argsort(-shares, kind="stable")[:top]
        yield Answer(Path(path), tuple((str(labels[index]), float(shares[index])) for index in best))


def _metadata(session: InferenceSession, key: str) -> Any:
    text = session.get_modelmeta().custom_metadata_map.get(f"latentbit.{key}", "null")
    try:
        return json.loads(text)
    except ValueError:
        raise ModelError(f"the model's metadata latentbit.{key} is no JSON: export it again") from None


def _read(path: Path) -> "Image":
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError:
        raise MissingExtraError("reading image files needs Pillow: pip install 'latentbit[images]'") from None
    try:
        with Image.open(path) as image:
            image.load()
            return image
    except UnidentifiedImageError:
        raise DataError(
            f"{path} is no image that Pillow can read: give PNG, JPEG, WebP or another image file"
        ) from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"cannot read the image {path}: {error}") from None
