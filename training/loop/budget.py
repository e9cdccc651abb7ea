"""How much of the schedule has passed: counted in steps, or in minutes of wall time.

Everything that depends on the place in the schedule (learning rate, ramps, stages, the end) follows from one number in
[0, 1], the share that has passed. :class:`Steps` takes it from the number of the step, so a run can be repeated bit for
bit. :class:`Minutes` takes it from a clock: the run ends in time on any machine, and no two runs are equal.
"""

import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from ...runtime.errors import ConfigError

__all__ = ["Budget", "Minutes", "Steps"]

WINDOW = 100
"""Steps over which the time of one is averaged."""
SETTLING = 3
"""First steps of a process, which compile and fill caches: they do not count as usual ones."""
STALL = 10
"""A step that takes so many times the median (a recompilation, say) tells nothing about those that follow."""


class Budget(Protocol):
    """What a training run is given to spend. ``step`` counts the optimiser's steps from the start of the run."""

    def passed(self, step: int) -> float:
        """Return the share of the schedule in [0, 1] that has passed before this step."""

    def before(self, step: int) -> float:
        """Return the share that had passed before the last step; negative before the first."""

    def steps_left(self, step: int) -> float:
        """Return how many steps, this one included, will still be taken, as far as is known; 0: the run is over."""

    def spend(self) -> None:
        """Count a step that was taken."""

    def state(self) -> dict[str, float]:
        """Return what :meth:`restore` continues from."""

    def restore(self, state: dict[str, Any]) -> None:
        """Continue where a checkpoint was written."""


@dataclass(frozen=True)
class Steps:
    """A fixed number of steps: all follows from the number of the step, and nothing need be remembered."""

    steps: int

    def passed(self, step: int) -> float:
        """Return step / steps."""
        return step / self.steps

    def before(self, step: int) -> float:
        """Return the share one step ago."""
        return (step - 1) / self.steps

    def steps_left(self, step: int) -> float:
        """Return the steps that are left."""
        return self.steps - step

    def spend(self) -> None:
        """Count nothing."""

    def state(self) -> dict[str, float]:
        """Return nothing."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Take in nothing."""


class Minutes:
    """So many seconds of wall time, from the start of the process to the last file; earlier processes' time counts in.

    The recent steps say how many more will fit. After each step the share that is left shrinks by one part in that
    number. With steps of equal length this is a straight line. After a stall the rest is cut shorter, and the schedule
    still ends where it should. ``reserve`` seconds are kept for what follows the last step.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.perf_counter) -> None:
        self.seconds, self.clock = seconds, clock
        self.started = self.last = clock()
        self.spent_before, self.reserve = 0.0, 0.0
        self.share, self.share_before = 0.0, -1.0
        self.recent: deque[float] = deque(maxlen=WINDOW)
        self.settling = SETTLING

    def keep(self, seconds: float) -> None:
        """Keep so many seconds for the end; ConfigError where that leaves nothing to train in."""
        self.reserve, self.last = seconds, self.clock()
        if not self.spent_before and self.left() <= 0:
            raise ConfigError(
                f"train.minutes = {self.seconds / 60:g} is too short: starting took {self.spent():.1f} s, and the"
                f" evaluation and the files at the end need {seconds:.1f} s; give at least"
                f" {2 * (self.spent() + seconds) / 60:.1g}"
            )

    def spent(self) -> float:
        """Return the seconds spent, in all processes of this run."""
        return self.spent_before + self.clock() - self.started

    def left(self) -> float:
        """Return the seconds left for steps."""
        return self.seconds - self.reserve - self.spent()

    def step_seconds(self) -> float:
        """Return the mean time of the recent steps, stalls left out; 0 while no usual step was taken."""
        if not self.recent:
            return 0.0
        middle = sorted(self.recent)[len(self.recent) // 2]
        usual = [seconds for seconds in self.recent if seconds <= STALL * middle]
        return sum(usual) / len(usual)

    def passed(self, step: int) -> float:
        """Return the share that has passed by the clock, whatever the number of the step."""
        return self.share

    def before(self, step: int) -> float:
        """Return the share before the last step that was taken."""
        return self.share_before

    def steps_left(self, step: int) -> float:
        """Return how many steps still fit, at least 1 until the schedule has ended; infinite before the first."""
        return max(self._fitting(), 1.0) if self.share < 1 else 0.0

    def _fitting(self) -> float:
        seconds = self.step_seconds()
        return max(self.left(), 0.0) / seconds if seconds else math.inf

    def spend(self) -> None:
        """Measure the step that was taken and move on in the schedule."""
        now = self.clock()
        if self.settling:
            self.settling -= 1
        else:
            self.recent.append(now - self.last)
        self.last, self.share_before = now, self.share
        fitting = self._fitting()
        self.share += (1 - self.share) / (fitting + 1)
        if fitting < 0.5 or self.left() <= 0:  # another step would end late
            self.share = 1.0

    def state(self) -> dict[str, float]:
        """Return the shares that have passed and the seconds spent."""
        return {"share": self.share, "share_before": self.share_before, "spent": self.spent()}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue with what is left of the time; the time between the processes does not count."""
        self.share, self.share_before, self.spent_before = state["share"], state["share_before"], state["spent"]
