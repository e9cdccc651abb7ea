"""The borders of a float segment: what turns values from the layout of the kernels to that of the file, and back."""

import onnx
from onnx import helper

from ..errors import ModelError
from ..intake.model import Model, ValueType
from ..steps.buffers import as_rows, channel_last

__all__ = ["Turned", "value_info"]

_Shape = tuple[int | str | None, ...]


class Turned:
    """The nodes at the borders of a segment, and the constants that they read; its methods return ports.

    An image of the kernels has four axes, ``[N, H, W, C]``; where the file has ``[N, C, T]`` it is one of height 1.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        self.before: list[onnx.NodeProto] = []
        self.after: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def image_in(self, name: str) -> onnx.ValueInfoProto:
        """Let an image come in."""
        port, source = self._image(name), channel_last(name)
        if len(self._shape(name)) == 3:
            source = f"{name}·flat"
            self.before.append(helper.make_node("Squeeze", [channel_last(name), self._numbers(name, [1])], [source]))
        perm = (0, 3, 1, 2) if source == channel_last(name) else (0, 2, 1)
        self.before.append(helper.make_node("Transpose", [source], [name], perm=perm))
        return port

    def image_out(self, name: str) -> onnx.ValueInfoProto:
        """Let an image go out."""
        port, target = self._image(name), channel_last(name)
        if len(self._shape(name)) == 3:
            target = f"{name}·flat"
            self.after.append(helper.make_node("Unsqueeze", [target, self._numbers(name, [1])], [channel_last(name)]))
        perm = (0, 2, 3, 1) if target == channel_last(name) else (0, 2, 1)
        self.after.insert(0, helper.make_node("Transpose", [name], [target], perm=perm))
        return port

    def rows_in(self, name: str) -> onnx.ValueInfoProto:
        """Let rows come in, for a value of more axes of which a run tells one size at most."""
        shape = [size if isinstance(size, int) else -1 for size in self._shape(name)]
        self.before.append(helper.make_node("Reshape", [as_rows(name), self._numbers(name, shape)], [name]))
        return self._rows(name)

    def rows_out(self, name: str) -> onnx.ValueInfoProto:
        """Let a value of more axes go out as rows."""
        channels = self._shape(name)[-1]
        assert isinstance(channels, int)
        self.after.append(helper.make_node("Reshape", [name, self._numbers(name, [-1, channels])], [as_rows(name)]))
        return self._rows(name)

    def _image(self, name: str) -> onnx.ValueInfoProto:
        known, shape = _type(self._model, name), self._shape(name)
        if len(shape) not in (3, 4):
            raise ModelError(
                f"value {name} is said to have {len(shape)} axes where a binary layer has four; export the model again"
            )
        sizes = (shape[0], *(1, *shape[2:])[-2:], shape[1])
        return helper.make_tensor_value_info(channel_last(name), known.elem, sizes)

    def _rows(self, name: str) -> onnx.ValueInfoProto:
        known, channels = _type(self._model, name), self._shape(name)[-1]
        return helper.make_tensor_value_info(as_rows(name), known.elem, (None, channels))

    def _shape(self, name: str) -> _Shape:
        shape = _type(self._model, name).shape
        if shape is None:
            raise ModelError(f"the shape of value {name} is not known; export the model with shapes on every value")
        return shape

    def _numbers(self, name: str, values: list[int]) -> str:
        """Return the name of a constant for a node at the border of a value."""
        tensor = helper.make_tensor(
            f"{name}·sizes·{len(self.constants)}", onnx.TensorProto.INT64, [len(values)], values
        )
        self.constants.append(tensor)
        return str(tensor.name)


def value_info(model: Model, name: str, port: str) -> onnx.ValueInfoProto:
    """Return a value in the layout of the file as a port. Raises ModelError where its type is not known."""
    known = _type(model, name)
    return helper.make_tensor_value_info(port, known.elem, known.shape)


def _type(model: Model, name: str) -> ValueType:
    known = model.types.get(name)
    if known is None and name in model.constants:
        array = model.constants[name]
        known = ValueType(helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
    if known is None or not known.elem:
        raise ModelError(f"the type of value {name} is not known; export the model with types on every value")
    return known
