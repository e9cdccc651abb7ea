"""Whether help is worth it now: where the cores are busy otherwise, sharing a segment out costs more than it gains.

A helper that the system puts aside in the middle of a portion keeps everybody waiting for a time slice. So a program
measures itself: it runs alone and shared by turns, keeps to what was faster, and tries the other again after a pause
that doubles as long as the answer stays the same.
"""

__all__ = ["Pace"]

_FIRST_PAUSE, _LONGEST_PAUSE = 8, 1024
_WEIGHT = 0.3  # of the newest figure in the running mean


class Pace:
    """Chooses between running alone and shared from the seconds that both took."""

    def __init__(self) -> None:
        self._seconds: dict[bool, float | None] = {False: None, True: None}
        self._pause, self._runs = _FIRST_PAUSE, 0
        self._best = True

    def shared(self) -> bool:
        """Return whether the next run should be shared."""
        for choice, seconds in self._seconds.items():
            if seconds is None:
                return choice
        self._runs += 1
        if self._runs >= self._pause:
            self._runs = 0
            self._pause = min(2 * self._pause, _LONGEST_PAUSE)
            return not self._best
        return self._best

    def took(self, shared: bool, seconds: float) -> None:
        """Record a run."""
        before = self._seconds[shared]
        self._seconds[shared] = seconds if before is None else (1 - _WEIGHT) * before + _WEIGHT * seconds
        alone, together = self._seconds[False], self._seconds[True]
        if alone is not None and together is not None and (together < alone) != self._best:
            self._best = together < alone
            self._pause, self._runs = _FIRST_PAUSE, 0
