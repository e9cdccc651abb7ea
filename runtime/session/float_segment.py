"""A float segment bound to buffers: onnxruntime reads and writes them in place."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError, first_line
from ..layout.memory import aligned
from ..plan.segments import FloatSegment
from ..plan.units import Unit
from ..steps.buffers import Buffers, as_rows, channel_last
from .binary_segment import SignsOf, Traced
from .float_model import plain_output
from .profile import Stopwatch

__all__ = ["BoundFloatSegment"]


class BoundFloatSegment:
    """A float segment whose outputs are buffers of the context, made in its first run."""

    def __init__(self, segment: FloatSegment, session: Any, buffers: Buffers) -> None:
        self._session = session
        self._buffers = buffers
        self._name = segment.name
        self._inputs = [*segment.plain_in, *map(channel_last, segment.channel_last_in), *map(as_rows, segment.rows_in)]
        ports = [(plain_output(name), name) for name in segment.plain_out]
        turned = [*map(channel_last, segment.channel_last_out), *map(as_rows, segment.rows_out)]
        ports += zip(turned, turned, strict=True)
        self._names = dict(ports)
        self._fed = [name for name in self._inputs if name in buffers.feeds]
        self._binding: Any = None

    def run(self) -> None:
        """Run the segment."""
        if self._binding is None:
            self._run_plainly()
            return
        for name in self._fed:
            self._binding.bind_cpu_input(name, self._buffers.feeds[name])
        try:
            self._session.run_with_iobinding(self._binding)
        except RuntimeError as error:  # a value of another shape than in the first run on inputs of these sizes
            raise ModelError(f"a float part gives other shapes than it has before: {first_line(error)}") from None

    def profile(self, watch: Stopwatch) -> None:
        """Run the segment, timed as one step."""
        watch.time(self._name, "float", self.run)

    def count(self, watch: Stopwatch) -> None:
        """Do nothing: a float segment has no binary layers."""

    def trace(self) -> Traced:
        """Run the segment; it has no units."""
        self.run()
        return {}

    def layer_sums(self, signs_of: SignsOf) -> dict[Unit, NDArray[np.int32]]:
        """Return nothing: a float segment has no units."""
        return {}

    def _run_plainly(self) -> None:
        """Run without bound buffers: the first time, as only onnxruntime knows the shapes, and always for strings."""
        feeds = {name: self._buffers.take(name) for name in self._inputs}
        found = self._session.run(list(self._names), feeds)
        values = self._buffers.values
        for name, value in zip(self._names.values(), found, strict=True):
            if name not in values:
                values[name] = _buffer(name, value)
            values[name][...] = value
        if not any(value.dtype.hasobject for value in (*feeds.values(), *found)):  # onnxruntime does not bind strings
            self._bind()

    def _bind(self) -> None:
        self._binding = self._session.io_binding()
        for name in self._inputs:
            if name not in self._fed:
                self._binding.bind_ortvalue_input(name, _ort_value(self._buffers.values[name]))
        for port, name in self._names.items():
            self._binding.bind_ortvalue_output(port, _ort_value(self._buffers.values[name]))


def _buffer(name: str, value: Any) -> NDArray[Any]:
    """Return a buffer like ``value``. Raises ModelError where it is no tensor."""
    if not isinstance(value, np.ndarray):
        raise ModelError(f"value {name} is no tensor; sequences and maps are not supported")
    if value.dtype.hasobject:
        return np.empty_like(value)
    return aligned(value.size, value.dtype).reshape(value.shape)


def _ort_value(array: NDArray[Any]) -> Any:
    import onnxruntime as ort

    return ort.OrtValue.ortvalue_from_numpy(array)
