"""Decoded images as they are meant: upright, with 8 bits a channel."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["as_meant"]


def as_meant(image: "Image") -> "Image":
    """Return an image turned as its EXIF orientation says, its values brought to 8 bits from the range of their kind.

    Pillow's own conversion cuts values of 16 bits off at 255. Floats are read as 0 to 255. ValueError for values whose
    range nobody can know: integers of 32 bits, floats outside of 0 to 255, and floats up to 1.
    """
    from PIL import Image, ImageOps

    sixteen = image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM"))
    image = ImageOps.exif_transpose(image)
    if image.mode == "F":
        values = np.asarray(image, np.float32)
        if not (values.min() >= 0 and values.max() <= 255) or 0 < values.max() <= 1:
            low, high = float(values.min()), float(values.max())
            raise ValueError(f"float values from {low:g} to {high:g}, not from 0 to 255; save it with 8 or 16 bits")
        return Image.fromarray(np.rint(values).astype(np.uint8))
    if sixteen:
        return Image.fromarray(np.rint(np.asarray(image).astype(np.float32) / 257).astype(np.uint8))
    if image.mode == "I":
        raise ValueError("integers of 32 bits, of which no range is known; save it with 8 or 16 bits")
    return image
