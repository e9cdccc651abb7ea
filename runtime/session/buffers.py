"""What the programs of a context share: the values that cross between them, and the packed images."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..layout.images import PackedImage
from ..plan.units import Unit
from ..steps.conv import PreparedUnit
from .program import Helpers

__all__ = ["Arrays", "Buffers"]

Arrays = dict[str, NDArray[Any]]


@dataclass
class Buffers:
    """Arrays by port name, made once; ``feeds`` are the caller's, new at each run.

    ``images`` are the packed inputs of units, ``batches`` how many images each unit runs on, ``names`` those of float
    segments by ``id``, ``in_place`` the units that may write where their residual lies, ``tables`` the pixel tables.
    """

    prepared: Mapping[Unit, PreparedUnit]
    names: Mapping[int, str]
    in_place: frozenset[Unit]
    helpers: Helpers | None
    feeds: Arrays
    values: Arrays = field(default_factory=dict)
    images: dict[Unit, PackedImage] = field(default_factory=dict)
    batches: dict[Unit, int] = field(default_factory=dict)
    tables: dict[bytes, NDArray[np.int32]] = field(default_factory=dict)

    def take(self, name: str) -> NDArray[Any]:
        """Return a buffer by port name, or the fed input of that name."""
        return self.feeds[name] if name in self.feeds else self.values[name]
