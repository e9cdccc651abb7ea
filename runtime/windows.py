"""The window of a convolution or a pool: its attributes, read once."""

from dataclasses import dataclass

import onnx

__all__ = ["Window", "pool_window"]


@dataclass(frozen=True)
class Window:
    """Kernel size and strides (height, width), pads top, left, bottom, right; ``ceil`` rounds the output size up."""

    kernel: tuple[int, int]
    strides: tuple[int, int]
    pads: tuple[int, int, int, int]
    ceil: bool = False

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """Return output height and width; a window that would start in the padding at the end is left out (ONNX)."""
        sizes = []
        for axis, length in enumerate((height, width)):
            room = length + self.pads[axis] + self.pads[axis + 2] - self.kernel[axis]
            size = (-(-room // self.strides[axis]) if self.ceil else room // self.strides[axis]) + 1
            if self.ceil and (size - 1) * self.strides[axis] >= length + self.pads[axis]:
                size -= 1
            sizes.append(size)
        return sizes[0], sizes[1]


def pool_window(node: onnx.NodeProto) -> Window | None:
    """Return the window of a 2-D MaxPool or Conv, or None where it is dilated, grouped or padded automatically."""
    found = {entry.name: onnx.helper.get_attribute_value(entry) for entry in node.attribute}
    kernel = tuple(found.get("kernel_shape", ()))
    plain = (
        len(kernel) == 2
        and set(found.get("dilations", ())) <= {1}
        and found.get("group", 1) == 1
        and found.get("auto_pad", b"NOTSET") == b"NOTSET"
        and not found.get("storage_order", 0)
        and len(node.output) == 1
    )
    if not plain:
        return None
    strides, pads = tuple(found.get("strides", (1, 1))), tuple(found.get("pads", (0, 0, 0, 0)))
    return Window(
        (kernel[0], kernel[1]),
        (strides[0], strides[1]),
        (pads[0], pads[1], pads[2], pads[3]),
        bool(found.get("ceil_mode", 0)),
    )
