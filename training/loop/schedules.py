"""Learning-rate schedules as pure functions of progress, so that a resumed run needs no schedule state.

``factor(name, progress)`` multiplies the peak learning rate; ``progress`` in [0, 1) is the share of the schedule that
has passed (:mod:`.budget`). Enter a new one in :data:`SCHEDULES`, and its name as a choice of ``schedule`` in
``settings.py``.
"""

import math
from collections.abc import Callable
from types import MappingProxyType

from ..settings import table_of

__all__ = ["SCHEDULES", "factor"]

WARM_UP = 0.1
"""Share of the schedule in which onecycle rises."""


def onecycle(progress: float) -> float:
    """Rise from 1/25 to 1 over the first tenth, fall to 1e-4, both along a cosine (Smith, arXiv 1708.07120)."""
    low, end = 1 / 25, 1e-4
    if progress < WARM_UP:
        return 1 + (low - 1) * 0.5 * (1 + math.cos(math.pi * progress / WARM_UP))
    return end + (1 - end) * 0.5 * (1 + math.cos(math.pi * (progress - WARM_UP) / (1 - WARM_UP)))


def cosine(progress: float) -> float:
    """Fall from 1 to 0 along half a cosine (Loshchilov and Hutter, arXiv 1608.03983)."""
    return 0.5 * (1 + math.cos(math.pi * progress))


def linear(progress: float) -> float:
    """Fall from 1 to 0 in a line (ReActNet's schedule)."""
    return 1 - progress


def step(progress: float) -> float:
    """A tenth after half, a hundredth after three quarters of the schedule."""
    return 1.0 if progress < 0.5 else 0.1 if progress < 0.75 else 0.01


SCHEDULES: MappingProxyType[str, Callable[[float], float]] = table_of(
    "schedule",
    {"constant": lambda progress: 1.0, "cosine": cosine, "linear": linear, "onecycle": onecycle, "step": step},
)


def factor(name: str, progress: float) -> float:
    """Return what the peak learning rate is multiplied by at ``progress``."""
    return SCHEDULES[name](progress)
