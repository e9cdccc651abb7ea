"""How a model wants its images prepared, as its file says.

An image is turned to the model's number of channels, scaled so that its shorter side fits, and cut to the centre.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError
from ..files import parse_json
from ..session.session import InferenceSession

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Preprocessing", "read_metadata", "read_preprocessing"]


_LARGEST_SIDE = 2**14
"""Pixels: more are no size of a network's input, and a few bytes of metadata could ask for any memory."""


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
    stated = read_metadata(session, "input")
    try:
        if (channels := int(stated["channels"])) not in (1, 3):
            raise ValueError(f"{channels} channels are those of no image")
        height, width = int(stated["height"]), int(stated["width"])
        if not (0 < height <= _LARGEST_SIDE and 0 < width <= _LARGEST_SIDE):
            raise ValueError(f"{height}×{width} pixels are no image")
        return Preprocessing(
            channels=channels,
            height=height,
            width=width,
            mean=tuple(map(float, stated["mean"])),
            std=tuple(map(float, stated["std"])),
            pixel_range=float(stated["range"]),
            raw=session.get_inputs()[0].type == "tensor(uint8)",
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ModelError(
            f"the model's metadata latentbit.input does not say how images are prepared ({error}): export it with them"
        ) from None


def read_metadata(session: InferenceSession, key: str) -> Any:
    """Return what the file keeps under ``latentbit.KEY``, None where it keeps nothing; broken JSON is a ModelError."""
    text = session.get_modelmeta().custom_metadata_map.get(f"latentbit.{key}", "null")
    try:
        return parse_json(text)
    except ValueError:
        raise ModelError(f"the model's metadata latentbit.{key} is no JSON: export it again") from None
