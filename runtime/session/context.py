"""A context: one plan bound to one set of input shapes. All buffers are made once; a run allocates nothing big.

Only onnxruntime knows the shapes that its segments give, so each segment is bound when the ones before it have run: in
the first pass, whatever that pass does. A context serves one thread at a time; the session keeps several.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..plan.parts import Planned
from ..plan.plan import Plan
from ..plan.segments import FloatSegment
from ..plan.units import Unit
from ..steps.buffers import Arrays, Buffers
from ..steps.prepare import Prepared
from .binary_segment import BoundBinarySegment, SignsOf, Traced
from .float_segment import BoundFloatSegment
from .profile import Stopwatch
from .program import Helpers

__all__ = ["Context"]


class Context:
    """Buffers and bound segments for one set of input shapes; ``sessions`` are onnxruntime's by place in the plan.

    ``thread`` is the one that runs it now, if any.
    """

    def __init__(
        self,
        plan: Plan,
        sessions: Mapping[int, Any],
        prepared: Mapping[Planned[Any], Prepared],
        helpers: Helpers | None = None,
    ) -> None:
        self._plan, self._sessions, self._prepared, self._helpers = plan, sessions, prepared, helpers
        self.thread: int | None = None
        self._buffers = Buffers()
        self._bound: list[BoundFloatSegment | BoundBinarySegment] = []

    def run(self, feeds: Arrays, outputs: Sequence[str] = ()) -> list[NDArray[Any]]:
        """Run every segment on feeds of the shapes of this context; return copies of these outputs."""
        for segment in self._segments(feeds):
            segment.run()
        return [self._buffers.values[name].copy() for name in outputs]

    def profile(self, feeds: Arrays, watch: Stopwatch) -> None:
        """Run step by step, in this thread alone, and record the time of each."""
        for segment in self._segments(feeds):
            segment.profile(watch)

    def count(self, feeds: Arrays, watch: Stopwatch) -> None:
        """Record the time of the counting of every binary layer, on the inputs that the last run has left."""
        if len(self._bound) < len(self._plan.segments):
            self.run(feeds)
        for segment in self._segments(feeds):
            segment.count(watch)

    def trace(self, feeds: Arrays) -> Traced:
        """Run, and return for every unit the signs it read ``[N, C, H, W]`` and its accumulators ``[N, O, H, W]``."""
        found: Traced = {}
        for segment in self._segments(feeds):
            found |= segment.trace()
        return found

    def layer_sums(self, feeds: Arrays, signs_of: SignsOf) -> dict[Unit, NDArray[np.int32]]:
        """Return the accumulators ``[1, O, H, W]`` of every unit on signs made for it, whatever the feeds are."""
        self.run(feeds)
        return {unit: sums for segment in self._bound for unit, sums in segment.layer_sums(signs_of).items()}

    def _segments(self, feeds: Arrays) -> Iterator[BoundFloatSegment | BoundBinarySegment]:
        """Yield the segments in order, each bound by the time that the ones before it have run."""
        self._buffers.feeds = feeds
        yield from self._bound
        for place in range(len(self._bound), len(self._plan.segments)):
            self._bound.append(self._bind(place))
            yield self._bound[-1]

    def _bind(self, place: int) -> BoundFloatSegment | BoundBinarySegment:
        segment = self._plan.segments[place]
        if isinstance(segment, FloatSegment):
            return BoundFloatSegment(segment, self._sessions[place], self._buffers)
        return BoundBinarySegment(segment, self._prepared, self._buffers, self._helpers)
