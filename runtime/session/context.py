"""A context: one plan bound to one set of input shapes. All buffers are made once; a run allocates nothing big.

The first run happens while binding, for only onnxruntime knows the shapes that its segments give. A context serves one
thread at a time; the session keeps several.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..plan.segments import FloatSegment, Plan, in_place_units
from ..plan.units import Unit
from ..steps.conv import PreparedUnit
from .binary_segment import BinaryProgram
from .buffers import Buffers
from .float_segment import FloatProgram
from .info import float_names
from .profile import Stopwatch
from .program import Helpers

__all__ = ["Context"]


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
        self._buffers = Buffers(prepared, float_names(plan), in_place_units(plan), helpers, dict(feeds))
        self._programs: list[FloatProgram | BinaryProgram] = []
        for index, segment in enumerate(plan.segments):
            program: FloatProgram | BinaryProgram
            if isinstance(segment, FloatSegment):
                program = FloatProgram(sessions[index], segment, self._buffers)
            else:
                program = BinaryProgram(segment, self._buffers)
            self._programs.append(program)
            program.run(self._buffers.feeds)

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> None:
        """Run every segment on feeds of the shapes of this context; results lie in its buffers."""
        self._buffers.feeds = dict(feeds)
        for program in self._programs:
            program.run(self._buffers.feeds)

    def profile(self, feeds: Mapping[str, NDArray[Any]], watch: Stopwatch) -> None:
        """Run step by step, in this thread alone, and record the time of each."""
        self._buffers.feeds = dict(feeds)
        for program in self._programs:
            program.profile(self._buffers.feeds, watch)

    def trace(self, feeds: Mapping[str, NDArray[Any]]) -> dict[Unit, tuple[NDArray[np.int8], NDArray[np.int32]]]:
        """Run, and return for every unit the signs it read ``[N, C, H, W]`` and its accumulators ``[N, O, H, W]``."""
        self._buffers.feeds = dict(feeds)
        found: dict[Unit, tuple[NDArray[np.int8], NDArray[np.int32]]] = {}
        for program in self._programs:
            if isinstance(program, BinaryProgram):
                found.update(program.trace())
            else:
                program.run(self._buffers.feeds)
        return found

    def result(self, name: str) -> NDArray[Any]:
        """Return a copy of a graph output."""
        return self._buffers.values[name].copy()
