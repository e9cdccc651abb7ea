"""A context: one plan bound to one set of input shapes. All buffers are made once; a run allocates nothing big.

The first run happens while binding, for only onnxruntime knows the shapes that its segments give. A context serves one
thread at a time; the session keeps several.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any
from weakref import proxy

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from .descriptor import Conv, Pack
from .descriptor import Stem as Word
from .errors import ModelError
from .floats import channel_last, plain_output
from .fusion import Unit
from .info import float_names
from .layout import PackedImage, aligned, decode_image, new_image
from .plan import BinarySegment, FloatSegment, Plan
from .profile import Stopwatch
from .programs import Helpers, Program
from .stem_steps import prepare_stem, stem_size, stem_steps
from .stems import Stem
from .steps import PreparedUnit, Step, conv_steps, identity_step, pack_step

__all__ = ["Context"]

Arrays = dict[str, NDArray[Any]]


class Context:
    """Buffers and bound steps for one set of input shapes."""

    def __init__(
        self,
        plan: Plan,
        sessions: Mapping[int, Any],
        prepared: Mapping[Unit, PreparedUnit],
        feeds: Mapping[str, NDArray[Any]],
        helpers: Helpers | None = None,
    ) -> None:
        self.helpers = helpers
        self._plan, self._prepared = plan, prepared
        self._feeds = dict(feeds)
        self.values: Arrays = {}
        self._images: dict[Unit, PackedImage] = {}
        self._programs: list[_FloatProgram | _BinaryProgram] = []
        self._batches: dict[Unit, int] = {}
        self.names = float_names(plan)
        for index, segment in enumerate(plan.segments):
            program: _FloatProgram | _BinaryProgram
            if isinstance(segment, FloatSegment):
                program = _FloatProgram(sessions[index], segment, self)
            else:
                program = _BinaryProgram(segment, self)
            self._programs.append(program)
            program.run(self._feeds)

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> None:
        """Run every segment on feeds of the shapes of this context; results lie in ``values``."""
        self._feeds = dict(feeds)
        for program in self._programs:
            program.run(self._feeds)

    def profile(self, feeds: Mapping[str, NDArray[Any]], watch: Stopwatch) -> None:
        """Run step by step, in this thread alone, and record the time of each."""
        self._feeds = dict(feeds)
        for program in self._programs:
            program.profile(self._feeds, watch)

    def trace(self, feeds: Mapping[str, NDArray[Any]]) -> dict[Unit, tuple[NDArray[np.int8], NDArray[np.int32]]]:
        """Run, and return for every unit the signs it read ``[N, C, H, W]`` and its accumulators ``[N, O, H, W]``."""
        self._feeds = dict(feeds)
        found: dict[Unit, tuple[NDArray[np.int8], NDArray[np.int32]]] = {}
        for program in self._programs:
            if isinstance(program, _BinaryProgram):
                found.update(program.trace())
            else:
                program.run(self._feeds)
        return found

    def result(self, name: str) -> NDArray[Any]:
        """Return a copy of a graph output."""
        return self.values[name].copy()

    def take(self, name: str) -> NDArray[Any]:
        """Return a buffer by port name, or the fed input of that name."""
        return self._feeds[name] if name in self._feeds else self.values[name]


class _FloatProgram:
    """A float segment with its outputs bound to buffers of the context."""

    def __init__(self, session: Any, segment: FloatSegment, context: Context) -> None:
        self._session = session
        self._context: Context = proxy(context)  # no cycle: buffers go with their context, not with the collector
        self._name = context.names.get(id(segment), "float")
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
            context.values[name] = buffer
        self._fed = [name for name in self._inputs if name in context._feeds]
        values = [context.take(name) for name in (*self._inputs, *self._names.values())]
        self._binding: Any = None
        if not any(value.dtype.hasobject for value in values):  # onnxruntime does not bind strings
            self._bind()

    def _bind(self) -> None:
        self._binding = self._session.io_binding()
        for name in self._inputs:
            if name not in self._fed:
                self._binding.bind_ortvalue_input(name, _ort_value(self._context.values[name]))
        for port, name in self._names.items():
            self._binding.bind_ortvalue_output(port, _ort_value(self._context.values[name]))

    def profile(self, feeds: Arrays, watch: Stopwatch) -> None:
        watch.time(self._name, "float", lambda: self.run(feeds))

    def _run_plainly(self) -> Arrays:
        feeds = {name: self._context.take(name) for name in self._inputs}
        return dict(zip(self._names.values(), self._session.run(list(self._names), feeds), strict=True))

    def run(self, feeds: Arrays) -> None:
        if self._binding is None:
            for name, value in self._run_plainly().items():
                self._context.values[name][...] = value
            return
        for name in self._fed:
            self._binding.bind_cpu_input(name, feeds[name])
        self._session.run_with_iobinding(self._binding)


def _ort_value(array: NDArray[Any]) -> Any:
    return ort.OrtValue.ortvalue_from_numpy(array)


class _BinaryProgram:
    """A binary segment: for each image of the batch its steps one after another."""

    def __init__(self, segment: BinarySegment, context: Context) -> None:
        self._context: Context = proxy(context)
        self.steps: list[Step] = []
        self.units: dict[int, Unit] = {}
        self._fed: list[tuple[Step, int, str]] = []  # words that hold the address of a fed array
        self.batch = 0
        for unit in segment.units:
            if isinstance(unit, Stem):
                self._bind_stem(unit, segment)
            else:
                self._bind(unit, segment)
        helpers = context.helpers
        self._program = Program(self.steps, self.batch, 1 if helpers is None else helpers.count + 1)

    def _bind(self, unit: Unit, segment: BinarySegment) -> None:
        context, layer = self._context, unit.layer
        ready = context._prepared[unit]
        image = context._images.get(unit)
        if image is None:
            source = self._nhwc(unit.source, unit)
            size = source.shape[1:3] if unit.pool is None else unit.pool.output_size(source.shape[1], source.shape[2])
            image = new_image(layer, ready.kernel.format, size[0], size[1], 1)
            context._images[unit], context._batches[unit] = image, len(source)
            step = pack_step(unit, source, image)
            if self._port(unit.source, unit) in context._feeds:
                self._fed.append((step, Pack.SOURCE, unit.source))
            self.steps.append(step)
        batch = context._batches[unit]
        if self.batch not in (0, batch):
            raise ModelError(f"node {layer.name}: a batch of {batch} beside one of {self.batch} is not supported")
        self.batch = batch
        height, width = layer.output_size(image.height, image.width)
        if height < 1 or width < 1:
            raise ModelError(f"node {layer.name}: an input of {image.height}×{image.width} is smaller than its window")
        target = None
        reader = unit.bits_for
        if reader is not None:
            count = 1 if reader in segment.units else batch
            form = context._prepared[reader].kernel.format
            target = new_image(reader.layer, form, height, width, count)
            context._images[reader], context._batches[reader] = target, batch
        out = None
        if unit.stored:
            out = aligned(batch * height * width * unit.channels_out, np.float32)
            out = out.reshape(batch, height, width, unit.channels_out)
            context.values[self._port(unit.output, unit)] = out[:, 0, 0] if unit.dense else out
        residual = None if unit.residual is None else self._nhwc(unit.residual, unit)
        if residual is not None and residual.shape != (batch, height, width, unit.channels_out):
            raise ModelError(f"node {layer.name}: the residual {unit.residual} has another shape than the output")
        steps = conv_steps(ready, image, target, out, residual)
        if unit.residual is not None and self._port(unit.residual, unit) in context._feeds:
            self._fed.append((steps[-1], Conv.RESIDUAL, unit.residual))
        self.steps += steps
        self.units[len(self.steps) - 1] = unit

    def _bind_stem(self, stem: Stem, segment: BinarySegment) -> None:
        context = self._context
        pixels = context.take(stem.source)
        self.batch = len(pixels)
        height, width = stem_size(stem, pixels.shape[1], pixels.shape[2])
        if height < 1 or width < 1:
            raise ModelError(f"node {stem.name}: an image of {pixels.shape[1:3]} is smaller than its window")
        target, reader = None, stem.bits_for
        if reader is not None:
            count = 1 if reader in segment.units else self.batch
            form = context._prepared[reader].kernel.format
            target = new_image(reader.layer, form, height, width, count)
            context._images[reader], context._batches[reader] = target, self.batch
        out = None
        if stem.stored:
            out = aligned(self.batch * height * width * stem.channels_out, np.float32)
            out = out.reshape(self.batch, height, width, stem.channels_out)
            context.values[channel_last(stem.output)] = out
        steps = stem_steps(prepare_stem(stem), pixels, target, out)
        self._fed += [(step, Word.SOURCE, stem.source) for step in steps]
        self.steps += steps

    def _nhwc(self, name: str, unit: Unit) -> NDArray[np.float32]:
        """Return a value as ``[count, H, W, C]``."""
        value = self._context.take(self._port(name, unit))
        return value if value.ndim == 4 else value[:, None, None, :]

    @staticmethod
    def _port(name: str, unit: Unit) -> str:
        """Return the name of a value in the layout of the kernels; a dense value has but one layout."""
        return name if unit.dense else channel_last(name)

    def run(self, feeds: Arrays) -> None:
        self._patch(feeds)
        self._program.run(self._context.helpers)

    def profile(self, feeds: Arrays, watch: Stopwatch) -> None:
        self._patch(feeds)
        for image in range(self.batch):
            for step in self.steps:
                watch.time(step.name, "kernel", partial(step.run, image))

    def _patch(self, feeds: Arrays) -> None:
        """Put the addresses of fed arrays into the descriptors."""
        for step, word, name in self._fed:
            step.words[word] = feeds[name].ctypes.data

    def trace(self) -> dict[Unit, tuple[NDArray[np.int8], NDArray[np.int32]]]:
        """Run like :meth:`run` and after each convolution once more with an identity epilogue."""
        context = self._context
        self._patch(context._feeds)
        signs: dict[Unit, list[NDArray[np.int8]]] = {unit: [] for unit in self.units.values()}
        sums: dict[Unit, list[NDArray[np.int32]]] = {unit: [] for unit in self.units.values()}
        for index in range(self.batch):
            for place, step in enumerate(self.steps):
                step.run(index)
                unit = self.units.get(place)
                if unit is None:
                    continue
                image = context._images[unit]
                signs[unit].append(decode_image(image, index if len(image.data) > 1 else 0))
                out = np.zeros((1, *unit.layer.output_size(image.height, image.width), unit.channels_out), np.float32)
                identity_step(context._prepared[unit], step, out).run(index)
                sums[unit].append(np.moveaxis(out[0], -1, 0).astype(np.int32))
        return {unit: (np.stack(signs[unit]), np.stack(sums[unit])) for unit in signs}
