"""Chains, means and routes, prepared and bound: the float work between packed layers."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError
from ..kernels.entry import entry_point
from ..layout.float_words import MEAN_LANES, ChainWord, MeanWord, RouteWord, RunWord, StageWord
from ..plan.chain import Chain, Stage
from ..plan.mean import Mean
from ..plan.parts import Planned
from ..plan.route import Route, runs
from .buffers import Buffers
from .step import Bound, Step, descriptor, image_stride, pixel_stride

__all__ = ["PreparedChain", "PreparedMean", "PreparedRoute"]

_BLOCK = 1024
"""Floats of a block of pixels, about: with a stage's operands it fits in the first cache."""


def _per(channels: int, pixels: int) -> int:
    """Return the pixels of a block."""
    return max(1, min(pixels, _BLOCK // channels))


@dataclass(frozen=True, eq=False)
class PreparedChain:
    """A chain; its constants are laid out when the size of a block is known."""

    planned: Planned[Chain]

    @classmethod
    def of(cls, planned: Planned[Chain]) -> "PreparedChain":
        """Prepare nothing."""
        return cls(planned)

    def bind(self, buffers: Buffers) -> Bound:
        """Return the step. Raises ModelError where two values of a stage differ in shape."""
        chain = self.planned.part
        source = buffers.floats(chain.source, chain.rank, chain.channels, chain.name)
        batch, height, width, channels = source.shape
        per = _per(channels, height * width)
        rows, keep = [], []
        for stage in chain.stages:
            keep.append(self._stage(stage, source, per, buffers))
            rows.append(descriptor(StageWord, keep[-1]))
        table = np.stack(rows)
        buffers.reserve(sum(8 * per * channels for _ in rows), chain.name)
        out = buffers.new_floats(self.planned, source.shape)
        values = {
            ChainWord.SOURCE: source,
            ChainWord.SOURCE_STRIDE: image_stride(source),
            ChainWord.OUT: out,
            ChainWord.OUT_STRIDE: image_stride(out),
            ChainWord.CHANNELS: channels,
            ChainWord.PIXELS: height * width,
            ChainWord.PER: per,
            ChainWord.STAGES: table,
            ChainWord.COUNT: len(rows),
        }
        work = -(-height * width // per)
        words = descriptor(ChainWord, values)
        return Bound([Step(chain.name, entry_point("chain", "chain"), words, work, [values, *keep])], batch)

    def _stage(
        self, stage: Stage, source: NDArray[np.float32], per: int, buffers: Buffers
    ) -> dict[StageWord, int | NDArray[np.float32] | None]:
        chain = self.planned.part
        values: dict[StageWord, int | NDArray[np.float32] | None] = {StageWord.OP: int(stage.op)}
        values[StageWord.SECOND] = None if stage.second is None else np.tile(stage.second, per)
        if stage.other is None:
            return values | {StageWord.OTHER: None if stage.first is None else np.tile(stage.first, per)}
        other = buffers.floats(stage.other, chain.rank, chain.channels, chain.name)
        wanted = (len(source), 1, 1, chain.channels) if stage.gate else source.shape
        if other.shape != wanted:
            raise ModelError(
                f"node {chain.name}: {stage.other} is {list(other.shape)}, channels last, not {list(wanted)}"
            )
        return values | {
            StageWord.OTHER: other,
            StageWord.OTHER_STRIDE: image_stride(other),
            StageWord.OTHER_PIXEL: 0 if stage.gate else 4 * chain.channels,
            StageWord.GATE: int(stage.gate),
        }


@dataclass(frozen=True, eq=False)
class PreparedMean:
    """A mean over images."""

    planned: Planned[Mean]

    @classmethod
    def of(cls, planned: Planned[Mean]) -> "PreparedMean":
        """Prepare nothing."""
        return cls(planned)

    def bind(self, buffers: Buffers) -> Bound:
        """Return the step."""
        mean = self.planned.part
        source = buffers.floats(mean.source, mean.rank, mean.channels, mean.name)
        batch, height, width, channels = source.shape
        out = buffers.new_floats(self.planned, (batch, 1, 1, channels))
        values = {
            MeanWord.SOURCE: source,
            MeanWord.SOURCE_STRIDE: image_stride(source),
            MeanWord.OUT: out,
            MeanWord.OUT_STRIDE: image_stride(out),
            MeanWord.CHANNELS: channels,
            MeanWord.HEIGHT: height,
            MeanWord.WIDTH: width,
        }
        words, work = descriptor(MeanWord, values), math.ceil(channels / MEAN_LANES)
        return Bound([Step(mean.name, entry_point("mean", "mean"), words, work, [values])], batch)


@dataclass(frozen=True, eq=False)
class PreparedRoute:
    """A move of channels."""

    planned: Planned[Route]

    @classmethod
    def of(cls, planned: Planned[Route]) -> "PreparedRoute":
        """Prepare nothing."""
        return cls(planned)

    def bind(self, buffers: Buffers) -> Bound:
        """Return the step. Raises ModelError where the images of two sources differ in size."""
        route = self.planned.part
        move = route.move
        sources = [
            buffers.floats(name, route.rank, size, route.name, sliced=True)
            for name, size in zip(move.reads, route.sizes, strict=True)
        ]
        batch, height, width, _ = sources[0].shape
        for name, source in zip(move.reads, sources, strict=True):
            if source.shape[:3] != (batch, height, width):
                raise ModelError(f"node {route.name}: {name} has images of another size than {move.reads[0]}")
        channels, place = len(move.which), self.planned.place
        shape = batch, height, width, channels
        if route.slices and place is not None:
            first = int(move.channel[0])
            buffers.new_floats(self.planned, shape, sources[0][..., first : first + channels])
            return Bound([], batch)
        out = buffers.new_floats(self.planned, shape)
        table = self._table(sources, out, buffers)
        if not len(table):
            return Bound([], batch)
        per = _per(channels, height * width)
        values = {
            RouteWord.OUT: out,
            RouteWord.OUT_STRIDE: image_stride(out),
            RouteWord.OUT_PIXEL: pixel_stride(out),
            RouteWord.PIXELS: height * width,
            RouteWord.PER: per,
            RouteWord.RUNS: table,
            RouteWord.COUNT: len(table),
        }
        words, work = descriptor(RouteWord, values), math.ceil(height * width / per)
        return Bound([Step(route.name, entry_point("route", "route"), words, work, [values, sources])], batch)

    def _table(
        self, sources: Sequence[NDArray[np.float32]], out: NDArray[np.float32], buffers: Buffers
    ) -> NDArray[np.int64]:
        """Return the runs that are not where they belong already, a row each."""
        route, place = self.planned.part, self.planned.place
        there = buffers.moved.setdefault(route.output if place is None else place.home, set())
        rows: list[list[int]] = []
        before = None
        for run in runs(route.move):
            which, first, step, target, target_step, count = run
            source = sources[which]
            begin = source.ctypes.data + 4 * first
            if route.straight and place is not None:
                entry = (route.reads[which], first, count, place.first + target)
                if entry in there or begin == out.ctypes.data + 4 * target:
                    continue
                there.add(entry)
            if before is not None and _takes_turns(before, run):
                rows[-1][RunWord.SECOND :] = begin, image_stride(source), pixel_stride(source)
                before = None
                continue
            sizes = 4 * step, 4 * target, 4 * target_step, count, 0, 0, 0
            rows.append([begin, image_stride(source), pixel_stride(source), *sizes])
            before = run
        return np.array(rows, np.int64).reshape(-1, RunWord.SIZE)


def _takes_turns(one: Sequence[int], two: Sequence[int]) -> bool:
    """Tell whether the channels of a run go between those of the run before it."""
    (_, _, step, target, target_step, count), (_, _, *others) = one, two
    return (step, target_step) == (1, 2) and others == [1, target + 1, 2, count]
