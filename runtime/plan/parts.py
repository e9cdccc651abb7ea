"""What the kernels run, as the plan sees it: parts of the graph, the choice of their kernels, and what was decided.

::

    Unit, Stem, Shortcut, …  ──►  Planned: the part, its kernel, what becomes of its output
    found in the graph         frozen, as is everything else in a plan
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..intake.model import BinaryLayer
from .chain import Chain
from .intervals import Intervals
from .thresholds import Thresholds
from .units import Unit

__all__ = ["Choice", "Chosen", "Part", "Place", "Planned"]


class Part(Protocol):
    """Nodes of the graph that our kernels run as one: a Unit, a Stem, a Shortcut, a Dense, a Chain, …."""

    @property
    def name(self) -> str:
        """Name of the node that the part is built around."""

    @property
    def kind(self) -> str:
        """Its arithmetic: ``binary``, ``integer`` or ``float``."""

    @property
    def nodes(self) -> Sequence[int]:
        """Indices of its nodes."""

    @property
    def ops(self) -> Sequence[str]:
        """The operators in it, in order."""

    @property
    def reads(self) -> Sequence[str]:
        """The values that it reads as floats, channels last; of a unit its source first."""

    @property
    def output(self) -> str:
        """The last value reached."""

    @property
    def rank(self) -> int:
        """How the output lies (plan/layouts.py): 4 images, 2 rows, 3 rows of a value that has more axes."""


@dataclass(frozen=True)
class Chosen:
    """A kernel and, in words, why it was chosen. The plan reads nothing of a kernel but its ``name``."""

    kernel: Any
    reason: str


class Choice(Protocol):
    """The kernels for a model on this CPU, chosen before its plan is made."""

    def unit(self, layer: BinaryLayer) -> Chosen:
        """Return the kernel of a binary layer."""

    def planes(self, layer: BinaryLayer) -> Chosen | None:
        """Return the kernel of a layer that reads levels of two bits; None where three copies are as fast."""

    def stem(self, weight: NDArray[np.int16]) -> Chosen:
        """Return the kernel of an exact stem with this weight ``[O, C, kh, kw]``."""

    def integers(self, weight: NDArray[np.int16]) -> Chosen | None:
        """Return the kernel of a convolution of bytes with this weight ``[O, C, kh, kw]``; None for onnxruntime."""

    def float_stem(self, weight: NDArray[np.float32]) -> Chosen | None:
        """Return the kernel of a float stem with this weight ``[O, C, kh, kw]``; None leaves it to onnxruntime."""

    def shortcut(self, weight: NDArray[np.float32]) -> Chosen | None:
        """Return the kernel of a float shortcut with this weight ``[O, C]``; None leaves it to onnxruntime."""

    def dense(self, rows: int | None) -> Chosen | None:
        """Return the kernel of dense layers over ``rows`` rows (None: unknown); None leaves them to onnxruntime."""

    def linear(self, outputs: int) -> Chosen | None:
        """Return the kernel of float dense layers with so many outputs; None leaves them to onnxruntime."""

    def native(self, ops: Sequence[str]) -> Chosen:
        """Return the kernel of float operators between parts, by their names."""

    def follow(self, chains: Sequence[Chain], source: str, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return what chains make of ``values`` ``[rows, C]`` of their source, by the kernel that would run them."""

    def bits_fit(self, maker: BinaryLayer | None, reader: BinaryLayer) -> bool:
        """Tell whether the maker (None: the stem) can write its output as the packed input of the reader."""


@dataclass(frozen=True)
class Place:
    """Where a value lies in a wider one: from channel ``first`` on among the ``channels`` of ``home``."""

    home: str
    first: int
    channels: int


PartT = TypeVar("PartT", bound=Part)


@dataclass(frozen=True, eq=False)
class Planned(Generic[PartT]):
    """A part with its kernel and with what becomes of its output.

    ``bits_for`` is the unit that takes the output as bits, written in the same pass; ``bits_kept`` says that this unit
    runs in a later segment, so that the bits of the whole batch are kept. ``stored`` says that somebody needs the
    floats. ``in_place`` says that nobody reads the residual afterwards, so that they may be written where it lies.
    ``thresholds``, or ``intervals``, replace the float arithmetic where bits alone are wanted and it can be replaced.
    ``until`` is the last part that reads the floats, where parts of this segment alone read them: their memory then
    holds one image, and serves another output afterwards.
    ``place`` is where the floats lie if others lie beside them, or in them; ``until`` is then that of all of them.
    """

    part: PartT
    kernel: Any
    reason: str
    stored: bool
    bits_for: "Planned[Unit] | None" = None
    bits_kept: bool = False
    in_place: bool = False
    thresholds: Thresholds | None = None
    intervals: Intervals | None = None
    until: Part | None = None
    place: Place | None = None
