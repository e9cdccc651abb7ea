"""The window of a convolution or a pool: its attributes, read once."""

from dataclasses import dataclass
from typing import Any

import onnx

from ..operators import STANDARD_DOMAINS

__all__ = ["Window", "pool_window"]


@dataclass(frozen=True)
class Window:
    """Kernel size and strides (height, width), pads top, left, bottom, right; ``ceil`` rounds the output size up."""

    kernel: tuple[int, int]
    strides: tuple[int, int]
    pads: tuple[int, int, int, int]
    ceil: bool = False

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """Return output height and width."""
        sizes = []
        for axis, length in enumerate((height, width)):
            room = length + self.pads[axis] + self.pads[axis + 2] - self.kernel[axis]
            sizes.append((-(-room // self.strides[axis]) if self.ceil else room // self.strides[axis]) + 1)
        return sizes[0], sizes[1]


def pool_window(node: onnx.NodeProto) -> Window | None:
    """Return the window of a 2-D MaxPool or Conv, or None where it is nothing so plain."""
    try:
        found = {entry.name: onnx.helper.get_attribute_value(entry) for entry in node.attribute}
    except ValueError:  # an attribute of a function, outside of one
        return None
    kernel = _integers(found.get("kernel_shape", ()))
    plain = (
        len(kernel) == 2
        and min(kernel) >= 1
        and node.domain in STANDARD_DOMAINS
        and set(_integers(found.get("dilations", ()))) <= {1}
        and found.get("group", 1) == 1
        and found.get("auto_pad", b"NOTSET") == b"NOTSET"
        and not found.get("storage_order", 0)
        and len(node.output) == 1
    )
    if not plain:
        return None
    strides, pads = _integers(found.get("strides", (1, 1))), _integers(found.get("pads", (0, 0, 0, 0)))
    if len(strides) != 2 or len(pads) != 4 or min(strides) < 1 or min(pads) < 0:
        return None
    if node.op_type != "Conv" and any(pad >= size for pad, size in zip(pads, kernel * 2, strict=True)):
        return None  # a window that lies in the padding has no maximum
    # Whether a window may start in the padding behind the image is not the same in all versions of ONNX.
    if found.get("ceil_mode", 0) and (pads[2] or pads[3] or strides[0] > kernel[0] or strides[1] > kernel[1]):
        return None
    return Window(
        (kernel[0], kernel[1]),
        (strides[0], strides[1]),
        (pads[0], pads[1], pads[2], pads[3]),
        bool(found.get("ceil_mode", 0)),
    )


def _integers(value: Any) -> tuple[int, ...]:
    """Return the integers of an attribute, none where it is anything else."""
    return tuple(value) if isinstance(value, list | tuple) and all(isinstance(entry, int) for entry in value) else ()
