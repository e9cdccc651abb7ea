"""The self-test that a model file carries: a board that computes otherwise shows it before it serves anybody.

The file says, under ``latentbit.self_test``, what comes out for an input that everybody can make: its bytes are those
of SHAKE-256 of a name, so no array is stored, and no random generator has to stay the same. Two things are compared.

1. **Integers**, layer by layer. The kernel of each packed layer gets signs made so, whatever came before it, and the
   digest of its sums must be the one in the file. No rounding is in them, so every board has to agree to the bit.
2. **The whole network** on an input made so: the signs that each layer reads, and the outputs. Floats may round
   otherwise on another CPU, which turns a sign now and then, and what follows then differs by more than rounding. So
   layers are compared up to the first with a turned sign, of which few may be turned, and outputs where none is.
"""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import CheckFailed, ModelError
from ..files import parse_json
from ..intake.limits import current_limits
from .values import LayerTrace

__all__ = [
    "KEY",
    "NO_SELF_TEST",
    "LayerRecord",
    "Record",
    "SelfTest",
    "compare",
    "digest",
    "layer_signs",
    "made_inputs",
    "made_record",
    "read_record",
]

KEY = "latentbit.self_test"
"""Where the metadata of a file hold it."""

NO_SELF_TEST = "none in the file: it is of an older version, or not written by latentbit; convert it to add one"

_VERSION = 1
_TURNED = 0.02
"""Share of the signs of a layer by which their balance may differ: far more than rounding turns."""

_VALUES = 16
"""Values of an output that are kept, at equal distances."""

_ROUNDING = 1e-3
"""Share of the largest output by which an output may differ where all signs are the same."""


@dataclass(frozen=True)
class LayerRecord:
    """A packed layer: ``sums`` integers and their digest; the signs that it reads: digest, shape, how many are +1."""

    integers: str
    sums: int
    signs: str
    shape: list[int]
    positive: int

    @property
    def count(self) -> int:
        """Signs that are read."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Record:
    """What a file says of itself: sizes of its inputs, its packed layers by name, some values of its float outputs."""

    inputs: Mapping[str, list[int]]
    layers: Mapping[str, LayerRecord]
    outputs: Mapping[str, list[float]]

    def to_json(self) -> str:
        """Return the text for the metadata."""
        return json.dumps({"version": _VERSION, **asdict(self)}, separators=(",", ":"), allow_nan=False)


@dataclass(frozen=True)
class SelfTest:
    """What was compared: layers and their integers, and outputs.

    ``turned`` is the first layer that reads other signs, as rounding allows (None: all are the same). Then no outputs
    are compared.
    """

    layers: int
    integers: int
    outputs: int
    turned: str | None = None

    def __str__(self) -> str:
        rest = (
            f"{self.outputs} outputs"
            if self.turned is None
            else f"no outputs, for rounding turned signs of {self.turned}"
        )
        return f"passed: {self.integers:,} integers of {self.layers} layers, {rest}"


def read_record(text: str) -> Record:
    """Return the record in the metadata of a file. Raises ModelError where it is none that this version can read."""
    try:
        value: Any = parse_json(text)
        if value["version"] != _VERSION:
            raise ModelError(
                f"the self-test in the file has version {value['version']!r:.20}, this latentbit reads {_VERSION}; "
                "export the model again"
            )
        inputs = {str(name): [_size(size) for size in sizes] for name, sizes in value["inputs"].items()}
        layers = {
            str(name): LayerRecord(
                _text(entry["integers"]),
                _size(entry["sums"]),
                _text(entry["signs"]),
                [_size(size) for size in entry["shape"]],
                _size(entry["positive"], 0),
            )
            for name, entry in value["layers"].items()
        }
        outputs = {str(name): [float(one) for one in values] for name, values in value["outputs"].items()}
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError):
        raise ModelError("the self-test in the metadata of the file cannot be read; export the model again") from None
    return Record(inputs, layers, outputs)


def _size(value: Any, least: int = 1) -> int:
    if type(value) is not int or not least <= value < 2**31:
        raise ValueError
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def made_inputs(dtypes: Mapping[str, np.dtype[Any]], shapes: Mapping[str, Sequence[int]]) -> dict[str, NDArray[Any]]:
    """Return the inputs: bytes for uint8, 0 and 1 for other integers, floats in [−2, 2).

    Raises ModelError for other names than those of the model, for what is no number, and past the limit memory_bytes.
    """
    if set(dtypes) != set(shapes):
        raise ModelError(f"the self-test is for inputs {', '.join(shapes)}, the model has {', '.join(dtypes)}")
    made: dict[str, NDArray[Any]] = {}
    for name, dtype in dtypes.items():
        sizes = tuple(shapes[name])
        if dtype.kind not in "iubf":
            raise ModelError(f"input {name!r} takes {dtype}, of which a self-test makes none")
        if math.prod(sizes) * dtype.itemsize > current_limits().memory_bytes:
            raise ModelError(f"the self-test asks for an input {name!r} of {list(sizes)}, past the limit memory_bytes")
        stream = _stream(f"input {name}", math.prod(sizes)).reshape(sizes)
        if dtype.kind == "f":
            made[name] = ((stream.astype(np.float32) - 128) / 64).astype(dtype)
        else:
            made[name] = stream if dtype == np.uint8 else (stream & 1).astype(dtype)
    return made


def made_record(
    shapes: Mapping[str, Sequence[int]],
    traces: Sequence[LayerTrace],
    sums: Mapping[str, NDArray[np.int32]],
    outputs: Mapping[str, NDArray[Any]],
) -> Record:
    """Return the record of what was computed: traces and outputs of a run, and sums of layers on signs of their own."""
    layers = {
        trace.name: LayerRecord(
            digest(sums[trace.name]),
            sums[trace.name].size,
            digest(trace.signs),
            list(trace.signs.shape),
            int(np.count_nonzero(trace.signs > 0)),
        )
        for trace in traces
    }
    values = {name: _some(value) for name, value in outputs.items() if value.dtype.kind == "f"}
    finite = {name: some for name, some in values.items() if all(map(math.isfinite, some))}
    return Record({name: list(sizes) for name, sizes in shapes.items()}, layers, finite)


def _some(value: NDArray[Any]) -> list[float]:
    flat = value.reshape(-1)
    return [float(f"{one:.6g}") for one in flat[:: max(1, flat.size // _VALUES)][:_VALUES]]


def layer_signs(name: str, shape: Sequence[int]) -> NDArray[np.int8]:
    """Return the signs of this shape, int8 ±1, that the layer of this name is tested with."""
    count = math.prod(shape)
    bits = np.unpackbits(_stream(f"layer {name}", -(-count // 8)), bitorder="little")[:count]
    return bits.astype(np.int8).reshape(shape) * np.int8(2) - np.int8(1)


def _stream(name: str, count: int) -> NDArray[np.uint8]:
    return np.frombuffer(hashlib.shake_256(f"latentbit {name}".encode()).digest(count), np.uint8)


def digest(values: NDArray[Any]) -> str:
    """Return a digest of whole numbers, the same on every machine."""
    return hashlib.sha256(np.ascontiguousarray(values, "<i4").tobytes()).hexdigest()[:32]


def compare(record: Record, found: Record) -> SelfTest:
    """Return what agrees between the record of a file and what was computed here. Raises CheckFailed for all else."""
    for name, layer in record.layers.items():
        if name not in found.layers:
            raise CheckFailed(
                f"self-test: the file speaks of a layer {name}, which is not packed here; export it again"
            )
        if found.layers[name].integers != layer.integers:
            raise CheckFailed(
                f"self-test: layer {name} gives other integers here than the file says: this board computes otherwise, "
                "or the file was altered; do not use its answers"
            )
    turned = _first_turned(record, found)
    compared = 0
    for name, values in record.outputs.items() if turned is None else ():
        here = found.outputs.get(name, [])
        largest = max(map(abs, values), default=0.0)
        if len(here) != len(values) or not all(
            abs(one - other) <= _ROUNDING * largest for one, other in zip(here, values, strict=True)
        ):
            raise CheckFailed(
                f"self-test: the output {name} is another here than the file says, by more than rounding: this board "
                "computes otherwise, or the file was altered; do not use its answers"
            )
        compared += 1
    return SelfTest(len(record.layers), sum(layer.sums for layer in record.layers.values()), compared, turned)


def _first_turned(record: Record, found: Record) -> str | None:
    """Return the first layer that reads other signs. Raises CheckFailed where rounding cannot have turned so many."""
    for name, layer in record.layers.items():
        here = found.layers[name]
        if here.signs == layer.signs:
            continue
        if here.shape != layer.shape or abs(here.positive - layer.positive) > 1 + _TURNED * layer.count:
            raise CheckFailed(
                f"self-test: layer {name} reads other signs here than the file says, more than rounding turns: this "
                "board computes otherwise, or the file was altered; do not use its answers"
            )
        return name
    return None
