"""Images of the report, as PNG text: what a model read, and of a network from image to image what it answered."""

import base64
import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .facts import Facts

__all__ = ["image_source", "pictures", "restored"]


def image_source(image: NDArray[np.float32], *, side: int = 0) -> str:
    """Return an image, float ``[C, H, W]`` in [0, 1] with C = 1 or 3, as the data URI of a PNG.

    side: pixels that it needs no more of than this in width and height (0: all of them).
    """
    from PIL import Image

    pixels = np.clip(np.rint(image * 255), 0, 255).astype(np.uint8)
    picture = Image.fromarray(pixels[0] if len(pixels) == 1 else np.moveaxis(pixels, 0, -1))
    if side:
        picture.thumbnail((side, side))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def pictures(inputs: NDArray[Any], layout: dict[str, Any] | None) -> NDArray[np.float32] | None:
    """Return what the model read as images ``[N,C,H,W]`` of values from 0 to 1; None where it is no image.

    Without a layout, of inputs of the user's own, each is spread from its smallest to its largest value.
    """
    if layout is None:
        if inputs.ndim != 4 or inputs.shape[1] not in (1, 3):
            return None
        values = inputs.astype(np.float32)
        low = values.min(axis=(1, 2, 3), keepdims=True)
        return np.asarray((values - low) / np.maximum(values.max(axis=(1, 2, 3), keepdims=True) - low, 1e-12))
    if layout["layout"] == "NHWC":
        return inputs.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(layout["range"])
    mean, std = (np.asarray(layout[key], np.float32).reshape(-1, 1, 1) for key in ("mean", "std"))
    return np.asarray(inputs * std + mean)


def restored(facts: Facts) -> list[list[tuple[str, str]]]:
    """Return, of a network from image to image, rows of (source, words): what it read, its answer, and the target."""
    from ...runtime.fidelity import psnr

    reference, outputs = facts.reference, list(facts.answers.values())
    inputs, targets = reference.inputs, reference.targets
    if len(outputs) != 1 or not isinstance(targets, np.ndarray) or targets.shape != outputs[0].shape:
        return []
    if any(values.ndim != 4 or values.shape[1] not in (1, 3) for values in (inputs, targets)):
        return []
    peak = float(targets.max())
    rows = []
    for index in range(min(len(targets), facts.run.config.report.images // 3)):
        found = psnr(outputs[0][index], targets[index], peak=peak)
        shown = ((inputs, "input"), (outputs[0], f"answer, PSNR {found:.2f} dB"), (targets, "target"))
        rows.append(
            [
                (image_source(np.clip(values[index].astype(np.float32) / max(peak, 1e-12), 0, 1)), words)
                for values, words in shown
            ]
        )
    return rows
