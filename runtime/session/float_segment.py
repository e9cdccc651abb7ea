"""A float segment bound to buffers: onnxruntime reads and writes them in place."""

from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from ..errors import ModelError
from ..layout.memory import aligned
from ..plan.segments import FloatSegment
from .buffers import Arrays, Buffers
from .float_model import channel_last, plain_output
from .profile import Stopwatch

__all__ = ["FloatProgram"]


class FloatProgram:
    """A float segment with its outputs bound to buffers of the context."""

    def __init__(self, session: Any, segment: FloatSegment, buffers: Buffers) -> None:
        self._session = session
        self._buffers = buffers
        self._name = buffers.names.get(id(segment), "float")
        self._inputs = [*segment.plain_in, *(channel_last(name) for name in segment.channel_last_in)]
        ports = [(plain_output(n), n) for n in segment.plain_out]
        ports += [(channel_last(n), channel_last(n)) for n in segment.channel_last_out]
        self._names = dict(ports)
        found = self._run_plainly()
        for name, value in found.items():
            if not isinstance(value, np.ndarray):
                raise ModelError(f"value {name} is no tensor; sequences and maps are not supported")
            buffer = value
            if not value.dtype.hasobject:
                buffer = aligned(value.size, value.dtype).reshape(value.shape)
                buffer[...] = value
            buffers.values[name] = buffer
        self._fed = [name for name in self._inputs if name in buffers.feeds]
        values = [buffers.take(name) for name in (*self._inputs, *self._names.values())]
        self._binding: Any = None
        if not any(value.dtype.hasobject for value in values):  # onnxruntime does not bind strings
            self._bind()

    def _bind(self) -> None:
        self._binding = self._session.io_binding()
        for name in self._inputs:
            if name not in self._fed:
                self._binding.bind_ortvalue_input(name, _ort_value(self._buffers.values[name]))
        for port, name in self._names.items():
            self._binding.bind_ortvalue_output(port, _ort_value(self._buffers.values[name]))

    def profile(self, feeds: Arrays, watch: Stopwatch) -> None:
        """Run the segment, timed as one step."""
        watch.time(self._name, "float", lambda: self.run(feeds))

    def _run_plainly(self) -> Arrays:
        feeds = {name: self._buffers.take(name) for name in self._inputs}
        return dict(zip(self._names.values(), self._session.run(list(self._names), feeds), strict=True))

    def run(self, feeds: Arrays) -> None:
        """Run the segment."""
        if self._binding is None:
            for name, value in self._run_plainly().items():
                self._buffers.values[name][...] = value
            return
        for name in self._fed:
            self._binding.bind_cpu_input(name, feeds[name])
        self._session.run_with_iobinding(self._binding)


def _ort_value(array: NDArray[Any]) -> Any:
    return ort.OrtValue.ortvalue_from_numpy(array)
