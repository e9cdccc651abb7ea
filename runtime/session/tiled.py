"""Large images through a network of any image size, tile by tile: memory is bounded by the tile, not by the image."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from .session import InferenceSession

__all__ = ["run_tiled"]


def run_tiled(
    session: InferenceSession, images: NDArray[np.generic], *, tile: int, overlap: int
) -> NDArray[np.generic]:
    """Return what a model answers to images ``[N, C, H, W]``, computed in windows of ``tile + 2·overlap`` pixels.

    session: a model with one input and one output ``[N, C', s·H, s·W]``, its image size free (exported with
    ``dynamic_spatial``); s is any whole number.
    tile: side of the square that a window adds to the answer.
    overlap: pixels around it that the window reads too. With as many as the network sees to one side (its receptive
    field, without the middle, halved; a 3×3 convolution adds 1), each tile is computed from the very pixels that the
    whole image would give it. Integers are then equal, bit for bit. Float layers may sum in another order for another
    image size: the last bits of a float may differ, and so may a sign whose value lies that near to its threshold.

    All windows of a call have one size, so buffers are made once. Where the image ends the window ends too, and the
    network pads there as it would for the whole image.

    Raises :class:`InputError` for arguments that are none, several inputs or outputs, a model whose answer is no whole
    multiple of what it reads, and as :meth:`.InferenceSession.run`.
    """
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if len(inputs) != 1 or len(outputs) != 1:
        raise InputError(
            f"run_tiled needs one input and one output, and the model has {len(inputs)} and {len(outputs)}"
        )
    if tile < 1 or overlap < 0:
        raise InputError(f"tile is {tile} and overlap {overlap}: give a tile of 1 or more and an overlap of 0 or more")
    if images.ndim != 4 or not all(images.shape):
        raise InputError(f"run_tiled takes images [N, C, H, W], not {list(images.shape)}")
    size = images.shape[2], images.shape[3]
    answer: NDArray[np.generic] | None = None
    for down in _windows(size[0], tile, overlap):
        for across in _windows(size[1], tile, overlap):
            window = np.ascontiguousarray(images[:, :, down[0] : down[1], across[0] : across[1]])
            (found,) = session.run(None, {inputs[0].name: window})
            scale = found.shape[2] // window.shape[2] if found.ndim == 4 else 0
            if not scale or found.shape[2:] != (scale * window.shape[2], scale * window.shape[3]):
                raise InputError(
                    f"the model makes {list(found.shape)} of {list(window.shape)}: run_tiled needs an answer whose"
                    " height and width are the same multiple of those of the image"
                )
            if answer is None:
                answer = np.empty((*found.shape[:2], scale * size[0], scale * size[1]), found.dtype)
            to = [slice(scale * one[2], scale * one[3]) for one in (down, across)]
            of = [slice(scale * (one[2] - one[0]), scale * (one[3] - one[0])) for one in (down, across)]
            answer[:, :, to[0], to[1]] = found[:, :, of[0], of[1]]
    assert answer is not None  # an image has a pixel, so there is a window
    return answer


def _windows(length: int, tile: int, overlap: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield (begin, end of the window, begin, end of the tile) along an axis; all windows are of one length."""
    window = min(length, tile + 2 * overlap)
    for start in range(0, length, tile):
        begin = min(max(start - overlap, 0), length - window)
        yield begin, begin + window, start, min(start + tile, length)
