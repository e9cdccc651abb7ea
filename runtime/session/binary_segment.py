"""A binary segment bound to buffers: for each image of the batch its steps one after another."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, ModelError
from ..layout.images import encode_image
from ..plan.parts import Planned
from ..plan.segments import BinarySegment
from ..plan.units import Unit
from ..steps.buffers import Buffers
from ..steps.conv import ConvStep
from ..steps.prepare import Prepared
from ..steps.step import Step
from .profile import Stopwatch
from .program import Helpers, Program

__all__ = ["BoundBinarySegment", "SignsOf", "Traced"]

SignsOf = Callable[[Unit, tuple[int, ...]], NDArray[np.int8]]
"""Makes signs of a shape for a unit."""

Traced = dict[Unit, tuple[NDArray[np.int8], NDArray[np.int32]]]
"""For every unit the signs it read ``[N, C, H, W]`` and its accumulators ``[N, O, H, W]``; of rows N is 1 and W too."""


class BoundBinarySegment:
    """The steps of a segment; also as a program, which compiled code runs in one call."""

    def __init__(
        self,
        segment: BinarySegment,
        prepared: Mapping[Planned[Any], Prepared],
        buffers: Buffers,
        helpers: Helpers | None,
    ) -> None:
        self._buffers, self._helpers = buffers, helpers
        self._steps: list[Step] = []
        self._batch = 0
        buffers.packed.clear()  # another segment finds in them the last image of a batch alone
        for planned in segment.parts:
            bound = prepared[planned].bind(buffers)
            buffers.release(planned.part)
            if self._batch not in (0, bound.batch):
                raise ModelError(
                    f"node {planned.part.name}: a batch of {bound.batch} beside one of {self._batch} is not supported"
                )
            self._batch = bound.batch
            self._steps += bound.steps
        self._fed = [(step.words, *step.fed) for step in self._steps if step.fed is not None]
        self._watching = [step for step in self._steps if step.nan is not None]
        self._program = Program(self._steps, self._batch, 1 if helpers is None else helpers.count + 1)

    def run(self) -> None:
        """Do all steps on all images."""
        self._take_feeds()
        self._program.run(self._helpers)
        self._refuse_nan()

    def profile(self, watch: Stopwatch) -> None:
        """Do the same step by step, each timed."""
        self._take_feeds()
        self._time(self._steps, watch)
        self._refuse_nan()

    def count(self, watch: Stopwatch) -> None:
        """Time the counting of the binary layers alone, on what lies in their inputs; no result changes."""
        self._time([step.counting_only() for step in self._steps if isinstance(step, ConvStep)], watch)

    def _time(self, steps: list[Step], watch: Stopwatch) -> None:
        for image in range(self._batch):
            for step in steps:
                watch.time(step.name, "kernel", partial(step.run, image))

    def trace(self) -> Traced:
        """Run like :meth:`run` and each convolution once more, for its accumulators."""
        self._take_feeds()
        signs: dict[Unit, list[NDArray[np.int8]]] = {}
        sums: dict[Unit, list[NDArray[np.int32]]] = {}
        for image in range(self._batch):
            for step in self._steps:
                step.run(image)
                if isinstance(step, ConvStep):
                    signs.setdefault(step.packed.unit, []).append(step.signs(image))
                    sums.setdefault(step.packed.unit, []).append(step.accumulators(image))
        self._refuse_nan()
        return {unit: (np.stack(signs[unit]), np.stack(sums[unit])) for unit in signs}

    def layer_sums(self, signs_of: SignsOf) -> dict[Unit, NDArray[np.int32]]:
        """Return the accumulators ``[1, O, H, W]`` of each unit on signs ``[1, C, H, W]`` that are made for it.

        All rows of a dense layer get the same signs, and one of them answers.
        What lies in the inputs of the kernels is lost; the next run puts all of it there anew.
        """
        found = {}
        for place, step in enumerate(self._steps):
            if isinstance(step, ConvStep):
                layer, image = step.packed.unit.layer, step.image
                size = image.height, image.width
                signs = signs_of(step.packed.unit, (1, layer.channels, *((1, 1) if layer.dense else size)))
                encode_image(image, 0, np.broadcast_to(signs[0], (layer.channels, *size)))
                if place and self._steps[place - 1].words is step.words:  # what the kernel makes of its input first
                    self._steps[place - 1].run(0)
                sums = step.accumulators(0)[None]
                found[step.packed.unit] = sums[:, :, :1] if layer.dense else sums
        return found

    def _refuse_nan(self) -> None:
        """Raise InputError where a NaN left a step no answer; the session does not use these buffers again."""
        for step in self._watching:
            if step.nan is not None and step.words[step.nan[0]]:
                name = step.name.removesuffix(":pack").removesuffix(":place_floats")
                raise InputError(f"node {name}: {step.nan[1]}")

    def _take_feeds(self) -> None:
        """Put the addresses of fed arrays into the descriptors."""
        for words, word, name in self._fed:
            words[word] = self._buffers.feeds[name].ctypes.data
