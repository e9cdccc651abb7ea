"""A binary segment bound to buffers: for each image of the batch its steps one after another."""

import math
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError
from ..layout.images import decode_image, new_image
from ..layout.memory import aligned
from ..layout.words import ConvWord, PackWord, StemWord
from ..plan.segments import BinarySegment
from ..plan.shortcut import Projection
from ..plan.stem import Stem
from ..plan.units import Unit
from ..steps.conv import Step, conv_steps, identity_step, pack_step, project_steps
from ..steps.stem import prepare_stem, stem_size, stem_steps
from .buffers import Arrays, Buffers
from .float_model import channel_last
from .profile import Stopwatch
from .program import Program

__all__ = ["BinaryProgram"]


class BinaryProgram:
    """A binary segment: for each image of the batch its steps one after another."""

    def __init__(self, segment: BinarySegment, buffers: Buffers) -> None:
        self._buffers = buffers
        self.steps: list[Step] = []
        self.units: dict[int, Unit] = {}
        self._fed: list[tuple[Step, int, str]] = []  # words that hold the address of a fed array
        self.batch = 0
        for unit in segment.units:
            if isinstance(unit, Stem):
                self._bind_stem(unit, segment)
            elif isinstance(unit, Projection):
                self._bind_projection(unit)
            else:
                self._bind(unit, segment)
        helpers = buffers.helpers
        self._program = Program(self.steps, self.batch, 1 if helpers is None else helpers.count + 1)

    def _bind(self, unit: Unit, segment: BinarySegment) -> None:
        buffers, layer = self._buffers, unit.layer
        ready = buffers.prepared[unit]
        image = buffers.images.get(unit)
        if image is None:
            source = self._nhwc(unit.source, unit)
            size = source.shape[1:3] if unit.pool is None else unit.pool.output_size(source.shape[1], source.shape[2])
            image = new_image(layer, ready.kernel.format, size[0], size[1], 1)
            buffers.images[unit], buffers.batches[unit] = image, len(source)
            step = pack_step(unit, source, image)
            if self._port(unit.source, unit) in buffers.feeds:
                self._fed.append((step, PackWord.SOURCE, unit.source))
            self.steps.append(step)
        batch = buffers.batches[unit]
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
            form = buffers.prepared[reader].kernel.format
            target = new_image(reader.layer, form, height, width, count)
            buffers.images[reader], buffers.batches[reader] = target, batch
        shape = (batch, height, width, unit.channels_out)
        residual = None if unit.residual is None else self._nhwc(unit.residual, unit)
        if residual is not None and residual.shape != shape:
            raise ModelError(f"node {layer.name}: the residual {unit.residual} has another shape than the output")
        fed = unit.residual is not None and self._port(unit.residual, unit) in buffers.feeds
        out = None
        if unit.stored:
            if residual is not None and unit in buffers.in_place and not fed:
                out = residual  # one buffer instead of two in the cache
            else:
                out = aligned(math.prod(shape), np.float32).reshape(shape)
            buffers.values[self._port(unit.output, unit)] = out[:, 0, 0] if unit.dense else out
        steps = conv_steps(ready, image, target, out, residual, buffers.tables)
        if fed:
            self._fed.append((steps[-1], ConvWord.RESIDUAL, str(unit.residual)))
        self.steps += steps
        self.units[len(self.steps) - 1] = unit

    def _bind_stem(self, stem: Stem, segment: BinarySegment) -> None:
        buffers = self._buffers
        pixels = buffers.take(stem.source)
        self.batch = len(pixels)
        height, width = stem_size(stem, pixels.shape[1], pixels.shape[2])
        if height < 1 or width < 1:
            raise ModelError(f"node {stem.name}: an image of {pixels.shape[1:3]} is smaller than its window")
        target, reader = None, stem.bits_for
        if reader is not None:
            count = 1 if reader in segment.units else self.batch
            form = buffers.prepared[reader].kernel.format
            target = new_image(reader.layer, form, height, width, count)
            buffers.images[reader], buffers.batches[reader] = target, self.batch
        out = None
        if stem.stored:
            out = aligned(self.batch * height * width * stem.channels_out, np.float32)
            out = out.reshape(self.batch, height, width, stem.channels_out)
            buffers.values[channel_last(stem.output)] = out
        steps = stem_steps(prepare_stem(stem), pixels, target, out)
        self._fed += [(step, StemWord.SOURCE, stem.source) for step in steps]
        self.steps += steps

    def _bind_projection(self, projection: Projection) -> None:
        source = self._buffers.take(channel_last(projection.source))
        size = source.shape[1:3] if projection.pool is None else projection.pool.output_size(*source.shape[1:3])
        shape = (len(source), *size, projection.channels_out)
        out = aligned(math.prod(shape), np.float32).reshape(shape)
        self._buffers.values[channel_last(projection.output)] = out
        self.steps += project_steps(projection, source, out)

    def _nhwc(self, name: str, unit: Unit) -> NDArray[np.float32]:
        """Return a value as ``[count, H, W, C]``."""
        value = self._buffers.take(self._port(name, unit))
        return value if value.ndim == 4 else value[:, None, None, :]

    @staticmethod
    def _port(name: str, unit: Unit) -> str:
        """Return the name of a value in the layout of the kernels; a dense value has but one layout."""
        return name if unit.dense else channel_last(name)

    def run(self, feeds: Arrays) -> None:
        """Do all steps on all images."""
        self._patch(feeds)
        self._program.run(self._buffers.helpers)

    def profile(self, feeds: Arrays, watch: Stopwatch) -> None:
        """Do the same step by step, each timed."""
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
        buffers = self._buffers
        self._patch(buffers.feeds)
        signs: dict[Unit, list[NDArray[np.int8]]] = {unit: [] for unit in self.units.values()}
        sums: dict[Unit, list[NDArray[np.int32]]] = {unit: [] for unit in self.units.values()}
        for index in range(self.batch):
            for place, step in enumerate(self.steps):
                step.run(index)
                unit = self.units.get(place)
                if unit is None:
                    continue
                image = buffers.images[unit]
                signs[unit].append(decode_image(image, index if len(image.data) > 1 else 0))
                out = np.zeros((1, *unit.layer.output_size(image.height, image.width), unit.channels_out), np.float32)
                identity_step(buffers.prepared[unit], step, out).run(index)
                sums[unit].append(np.moveaxis(out[0], -1, 0).astype(np.int32))
        return {unit: (np.stack(signs[unit]), np.stack(sums[unit])) for unit in signs}
