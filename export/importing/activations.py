"""The ±1 form of an activation, ``value = offset + scale · Binarize(source, threshold)``, through ops that move it.

:meth:`Activations.read` says whether there is one, without touching the graph; :meth:`Activations.build` adds it.
"""

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from ...runtime.bits import DOMAIN
from ...runtime.operators import channel_vector, sign_sources
from ..graph.constants import Constants
from .layers import StaysFloat, label, shape_of, told
from .rewriting import Rewriting
from .step_functions import Step, Steps
from .ties import find_tie, is_never_zero

__all__ = ["UNDECIDED", "Activations", "Signs"]

UNDECIDED = "; sign_zero decides it"
"""How the reason of a layer ends that is binary as soon as the sign of 0 is given."""


@dataclass(frozen=True)
class Signs:
    """``value = offset + scale · s`` with ``s`` in {−1, +1}: made by a step, or by an operator that moves ``parts``."""

    value: ir.Value
    scale: float
    offset: float
    threshold: NDArray[np.float32] | None = None
    source: ir.Value | None = None
    parts: tuple["Signs", ...] = ()
    notes: tuple[str, ...] = ()
    faithful: bool = True
    """Whether the two sides are equal for every source, NaN and the threshold itself included."""

    @property
    def plain(self) -> bool:
        """Whether the value is ±1 itself."""
        return self.scale == 1.0 and self.offset == 0.0

    def pad_value(self, number: float) -> int | None:
        """Return which sign (or 0) stands for ``number`` outside the image; None where none does."""
        sign = (number - self.offset) / self.scale
        return int(sign) if sign in (-1.0, 0.0, 1.0) else None


class Activations:
    """Reads and builds the ±1 forms of one graph.

    sign_zero: the sign of 0 in ops that give 0 for 0: "plus", "minus", or "keep", which finds no ±1 form there.
    never_zero: outputs of packed layers that are provably never 0.
    rounded_zero: outputs of packed layers that can be exactly 0. The source adds rounded products, whose rounding may
    turn that 0 into a small number, or give a 0 at another place.
    """

    def __init__(self, rewriting: Rewriting, constants: Constants, sign_zero: str = "keep") -> None:
        self._rewriting = rewriting
        self._constants = constants
        self._steps = Steps(constants)
        self._sign_zero = sign_zero
        self._built: dict[ir.Value, ir.Value] = {}
        self.never_zero: set[ir.Value] = set()
        self.rounded_zero: set[ir.Value] = set()

    def read(self, value: ir.Value) -> Signs:
        """Return the ±1 form of a value; StaysFloat where it has none."""
        node = value.producer()
        if (step := self._steps.get(value)) is not None:
            return self._from_step(value, step)
        if node is not None and node.domain == DOMAIN and node.op_type == "Binarize":
            return Signs(value, 1.0, 0.0)  # ours already, with a threshold that is computed
        moved = () if node is None or value.index() else sign_sources(node.op_type, node.domain, node.inputs)
        sources = [entry for entry in moved if entry is not None]
        if node is None or not sources:
            raise StaysFloat(f"its input is real: {self._origin(value)}")
        if sum(bool(output.uses()) for output in node.outputs) > 1:
            raise StaysFloat(f"its input comes from {node.op_type} {label(node)}, whose second output is used too")
        parts = tuple(self.read(entry) for entry in sources)
        first = parts[0]
        if any((part.scale, part.offset) != (first.scale, first.offset) for part in parts):
            raise StaysFloat(f"its input joins activations of different scales in {label(node)}")
        if node.op_type in ("MaxPool", "GlobalMaxPool") and first.scale < 0:
            raise StaysFloat(
                f"its input is a maximum of activations that fall where their source rises ({label(node)})"
            )
        notes = tuple(dict.fromkeys(note for part in parts for note in part.notes))
        faithful = all(part.faithful for part in parts)
        return Signs(value, first.scale, first.offset, parts=parts, notes=notes, faithful=faithful)

    def _from_step(self, value: ir.Value, step: Step) -> Signs:
        if value.dtype not in (None, ir.DataType.FLOAT) or step.source.dtype not in (None, ir.DataType.FLOAT):
            raise StaysFloat(f"its input is {value.dtype or step.source.dtype}, not float32")
        self._check_shapes(step)
        low, high = _single(step.below), _single(step.above)
        if low is None or high is None:
            raise StaysFloat("its activations have different scales per channel, and a sum takes one")
        if not (np.isfinite(low) and np.isfinite(high)) or low == high:
            raise StaysFloat(f"its input takes the one value {high:g} on both sides of a threshold")
        notes = []
        faithful = True
        threshold = step.threshold
        if np.array_equal(np.broadcast_to(step.at, step.above.shape), step.above):
            pass
        elif np.array_equal(np.broadcast_to(step.at, step.below.shape), step.below):
            threshold = np.nextafter(threshold, np.float32(np.inf))  # x > t ⇔ x >= the next float
        elif np.any(step.threshold) or not is_never_zero(step.source, self.never_zero):
            at = "/".join(f"{number:g}" for number in np.unique(step.at))
            for number in np.unique(step.threshold):
                if maker := self._steps.ranges.often(step.source, float(number)):
                    raise StaysFloat(
                        f"its input takes three values, {low:g}, {at} and {high:g}: {at} where {step.source.name} is "
                        f"{number:g}, which {maker} makes a common value, so sign_zero does not decide it"
                    )
            if self._sign_zero == "keep":
                raise StaysFloat(
                    f"its input takes three values, {low:g}, {at} and {high:g}: {at} where "
                    f"{step.source.name} is the threshold itself (Sign(0) = 0){UNDECIDED}"
                )
            if self._sign_zero == "minus":
                threshold = np.nextafter(threshold, np.float32(np.inf))
            faithful = False
            notes.append(f"the activation {at} is taken as {high if self._sign_zero == 'plus' else low:g} (sign_zero)")
        nan = _single(step.nan)
        if nan != low:
            faithful = False
        if nan == high:
            notes.append(f"NaN gives {low:g} here and {high:g} in the source")
        tie = None if np.any(step.threshold) else find_tie(step.source, self.rounded_zero, self._constants)
        if tie is not None:
            notes.append(f"{tie.name} can be exactly 0 here; the rounding of the source's sum decides such ties there")
        shaped = self._shaped(threshold, step.source)
        scale, offset = (float(high) - float(low)) / 2, (float(high) + float(low)) / 2
        return Signs(value, scale, offset, shaped, step.source, (), tuple(notes), faithful)

    def _check_shapes(self, step: Step) -> None:
        """Refuse constants that would give the activation more axes or channels than its source has."""
        shape = shape_of(step.source)
        for array in (step.threshold, *step.pieces):
            if shape is None or len(shape) < 2 or (shape[1] is None and array.size > 1):
                fits = array.ndim == 0 or (array.size == 1 and shape is not None and array.ndim <= len(shape))
            else:
                fits = channel_vector(np.asarray(array, np.float32), len(shape), shape[1] or 1) is not None
            if not fits:
                raise StaysFloat(
                    f"constants of shape {list(array.shape)} beside {step.source.name} are not one per channel"
                )

    def _shaped(self, threshold: NDArray[np.float32], source: ir.Value) -> NDArray[np.float32]:
        """Return the threshold as ``[C,1,1]`` or ``[C]``; of size 1 where C is not known."""
        shape = shape_of(source)
        if shape is None or len(shape) < 2 or shape[1] is None:
            if threshold.size != 1:
                raise StaysFloat(f"the shape of {source.name}, which has a threshold per channel, is not known")
            rank = 0 if shape is None else max(0, len(shape) - 1)
            return threshold.reshape((1,) * rank)
        vector = channel_vector(threshold, len(shape), shape[1])
        if vector is None:
            raise StaysFloat(f"the thresholds of {source.name} are not one number per channel")
        return vector.reshape(-1, *(1,) * (len(shape) - 2))

    def _origin(self, value: ir.Value) -> str:
        node = value.producer()
        if node is None:
            return f"{value.name} is an input of the graph" if value.is_graph_input() else f"{value.name} is a constant"
        if node.op_type == "Add" and self._is_straight_through(node):
            return f"x + (sign(x) − x) in {label(node)} is not ±1 in float32; export the sign itself"
        training = ", which may be in training mode" if node.op_type == "Dropout" else ""
        return f"it comes from {told(node)}{training}"

    def _is_straight_through(self, node: ir.Node) -> bool:
        for one, other in (node.inputs, reversed(node.inputs)):
            inner = None if one is None else one.producer()
            if inner is not None and inner.op_type == "Sub" and inner.inputs[1] is other:
                return self._steps.get(inner.inputs[0]) is not None
        return False

    def build(self, signs: Signs) -> ir.Value:
        """Add the ±1 form of a value to the graph, right behind the value itself, and return it."""
        if signs.value in self._built:
            return self._built[signs.value]
        node = signs.value.producer()
        assert node is not None
        if node.domain == DOMAIN or (
            signs.parts and signs.plain and all(self.build(p) is p.value for p in signs.parts)
        ):
            built = signs.value
        elif signs.parts:
            parts = [self.build(part) for part in signs.parts]
            inputs = [*parts, *node.inputs[len(parts) :]]
            built = self._rewriting.insert_after(
                node, node.op_type, inputs, node.attributes, name=f"{label(node)}.signs", like=signs.value
            )
        else:
            assert signs.source is not None
            assert signs.threshold is not None
            threshold = self._rewriting.constant(f"{label(node)}.threshold", signs.threshold)
            inputs = [signs.source, threshold]
            built = self._rewriting.insert_after(
                node, "Binarize", inputs, {}, name=f"{label(node)}.sign", domain=DOMAIN, like=signs.value
            )
        if signs.plain and signs.faithful and built is not signs.value:
            self._rewriting.replace_uses(signs.value, built)
        self._built[signs.value] = built
        self._built[built] = built
        return built


def _single(pieces: NDArray[np.generic]) -> float | None:
    """Return the one number that all entries are, None where they differ."""
    values = np.unique(np.asarray(pieces, np.float64))
    return float(values[0]) if values.size == 1 else None
