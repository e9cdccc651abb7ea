"""Chains, means, routes and views, prepared and bound: the float work between packed layers."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError
from ..kernels.entry import entry_point
from ..layout.float_words import MEAN_LANES, ChainOp, ChainWord, MeanWord, StageWord
from ..layout.move_words import RouteWord, RunWord
from ..plan.chain import Chain, Stage
from ..plan.mean import Mean
from ..plan.parts import Planned
from ..plan.route import Route, runs
from ..plan.view import View
from .buffers import Buffers, port
from .step import Bound, Step, descriptor, image_stride, pixel_stride

__all__ = [
    "PreparedChain",
    "PreparedMean",
    "PreparedRoute",
    "PreparedView",
    "constant_stages",
    "follow",
    "pixels_per_block",
]

_StageWords = dict[StageWord, int | NDArray[np.float32] | None]

_BLOCK = 1024
"""Floats of a block of pixels, about: with a stage's operands it fits in the first cache."""


def pixels_per_block(channels: int, pixels: int) -> int:
    """Return the pixels of a block of a chain or a route."""
    return max(1, min(pixels, _BLOCK // channels))


def constant_stages(stages: Sequence[Stage], per: int) -> tuple[NDArray[np.int64], list[_StageWords]]:
    """Return the table of stages that read numbers per channel alone, for blocks of ``per`` pixels; keep the words."""
    words = [_constants(stage, per) for stage in stages]
    return np.stack([descriptor(StageWord, row) for row in words]), words


def _constants(stage: Stage, per: int) -> _StageWords:
    first, second = (None if value is None else np.tile(value, per) for value in (stage.first, stage.second))
    return {StageWord.OP: int(stage.op), StageWord.OTHER: first, StageWord.SECOND: second}


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
        per = pixels_per_block(channels, height * width)
        rows, keep = [], []
        for stage in _together(chain.stages):
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

    def _stage(self, stage: Stage, source: NDArray[np.float32], per: int, buffers: Buffers) -> _StageWords:
        chain, values = self.planned.part, _constants(stage, per)
        if stage.other is None:
            return values
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


def follow(chains: Sequence[Chain], source: str, values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return what chains, in order, make of ``values`` ``[rows, C]`` of ``source``, the one value they begin with."""
    rank = chains[0].rank
    buffers = Buffers(values={port(source, rank): values[None, :, None] if rank == 4 else values})
    for chain in chains:
        for step in PreparedChain.of(Planned(chain, None, "", stored=True)).bind(buffers).steps:
            step.run(0)
    result: NDArray[np.float32] = buffers.take(port(chains[-1].output, rank)).reshape(values.shape)
    return result


_TIMES_ITSELF = {ChainOp.SIGMOID: ChainOp.SILU, ChainOp.HARD_SIGMOID: ChainOp.HARD_SWISH}
"""What a stage is together with the product of its result and what it read."""


def _together(stages: Sequence[Stage]) -> list[Stage]:
    """Return the stages, the first two as one where they are x · Sigmoid(x): no sigmoid is stored and read again."""
    first, *rest = stages
    whole = _TIMES_ITSELF.get(first.op)
    if whole is not None and rest and (rest[0].op, rest[0].other) == (ChainOp.MULTIPLY, first.source):
        return [replace(first, op=whole), *rest[1:]]
    return list(stages)


@dataclass(frozen=True, eq=False)
class PreparedMean:
    """A mean over images."""

    planned: Planned[Mean]

    @classmethod
    def of(cls, planned: Planned[Mean]) -> "PreparedMean":
        """Prepare nothing."""
        return cls(planned)

    def bind(self, buffers: Buffers) -> Bound:
        """Return the step; rows are those of all images. Raises ModelError for images of another size."""
        mean = self.planned.part
        source = buffers.floats(mean.source, 4, mean.channels, mean.name)
        batch, height, width, channels = source.shape
        if mean.size not in (None, (height, width)):
            raise ModelError(f"node {mean.name}: {mean.source} has images of {height}×{width}, not as the file says")
        rows = mean.rank == 2
        out = buffers.new_floats(self.planned, (1, batch, 1, channels) if rows else (batch, 1, 1, channels))
        values = {
            MeanWord.SOURCE: source,
            MeanWord.SOURCE_STRIDE: image_stride(source),
            MeanWord.OUT: out,
            MeanWord.OUT_STRIDE: 4 * channels if rows else image_stride(out),
            MeanWord.CHANNELS: channels,
            MeanWord.HEIGHT: height,
            MeanWord.WIDTH: width,
        }
        words, work = descriptor(MeanWord, values), math.ceil(channels / MEAN_LANES) * (batch if rows else 1)
        return Bound([Step(mean.name, entry_point("mean", "mean"), words, work, [values])], 1 if rows else batch)


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
        per = pixels_per_block(channels, height * width)
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


@dataclass(frozen=True, eq=False)
class PreparedView:
    """A view of images of one pixel as rows."""

    planned: Planned[View]

    @classmethod
    def of(cls, planned: Planned[View]) -> "PreparedView":
        """Prepare nothing."""
        return cls(planned)

    def bind(self, buffers: Buffers) -> Bound:
        """Return no steps. Raises ModelError for images of more pixels, or of another number than the node states."""
        view = self.planned.part
        source = buffers.floats(view.source, 4, view.channels, view.name)
        batch = len(source)
        if source.shape[1:3] != (1, 1) or view.rows not in (None, batch):
            raise ModelError(
                f"node {view.name}: {view.source} is {list(source.shape)}, channels last, not as it states"
            )
        buffers.values[view.output] = source.reshape(batch, view.channels)
        return Bound([], 1)
