"""Image files to labels; decoding is Pillow's (extra ``images``).

Files are read one at a time: memory does not grow with their number.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import DataError, MissingExtraError, ModelError
from ..session.session import InferenceSession
from .pixels import as_meant
from .preprocessing import read_metadata, read_preprocessing

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Answer", "classify", "read_image"]


@dataclass(frozen=True)
class Answer:
    """The ``top`` labels of one image with their probabilities, best first."""

    path: Path
    top: tuple[tuple[str, float], ...]


def classify(session: InferenceSession, paths: Iterable[str | PathLike[str]], *, top: int = 5) -> Iterator[Answer]:
    """Yield an answer for each image file, as it is read.

    Raises :class:`DataError` for a file that is no image, :class:`MissingExtraError` without Pillow,
    :class:`ModelError` for a model without labels or preprocessing.
    """
    wanted = read_preprocessing(session)
    labels = read_metadata(session, "labels")
    if not isinstance(labels, list):
        raise ModelError("the model's metadata latentbit.labels holds no list of labels: export it with them")
    name = session.get_inputs()[0].name
    output = session.get_outputs()[0].name
    for path in paths:
        logits = session.run([output], {name: wanted.apply(read_image(Path(path)))})[0][0].astype(np.float64)
        if len(logits) != len(labels):
            raise ModelError(f"the model has {len(logits)} outputs and {len(labels)} labels: export it again")
        shares = np.exp(logits - logits.max())
        shares /= shares.sum()
        best = np.argsort(-shares, kind="stable")[:top]
        yield Answer(Path(path), tuple((str(labels[index]), float(shares[index])) for index in best))


def read_image(path: Path) -> "Image":
    """Return an image file upright, with 8 bits a channel; DataError for what is none."""
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError:
        raise MissingExtraError("reading image files needs Pillow: pip install 'latentbit[images]'") from None
    try:
        with Image.open(path) as image:
            image.load()
            return as_meant(image)
    except UnidentifiedImageError:
        raise DataError(
            f"{path} is no image that Pillow can read: give PNG, JPEG, WebP or another image file"
        ) from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"cannot read the image {path}: {error}") from None
