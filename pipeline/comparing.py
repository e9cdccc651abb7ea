"""Random inputs through a file and what ``convert`` made of it: how far the answers differ, and which steps were moved.

A packed layer rounds its sum once, its source at every step. A value on the border of two steps of a quantiser may fall
on the other side, and what lies behind it then differs by more than rounding. So steps and signs are counted one by
one: what each quantiser gives in both files, through the thresholds of the packed one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from ..runtime.bits import DOMAIN
from ..runtime.errors import ConfigError

__all__ = ["Comparison", "compare"]

_STEPS = ("Ceil", "Floor", "Round")


@dataclass(frozen=True)
class Comparison:
    """What ``samples`` random inputs showed.

    ``difference``: the largest one of all outputs, as a share of the largest number of its output. ``moved``: by the
    name of each sign or quantiser that stands in both files, how many of its values took another step; ``counted``: of
    how many.
    """

    samples: int
    difference: float
    moved: Mapping[str, int]
    counted: int


def compare(source: Path, target: Path, samples: int) -> Comparison:
    """Run random inputs, one at a time, through both files: the source in stock onnxruntime, the target here.

    Raises ConfigError where the size of an input is not known, and ModelError where onnxruntime cannot run the source.
    """
    from ..export.graph.reading import to_proto
    from ..export.importing.plain import read_file, read_plain
    from ..runtime.proof.engines import Candidate

    packed = onnx.load(target)
    before, after = (
        Candidate(to_proto(read_plain(read_file(source))).SerializeToString()),
        Candidate(target.read_bytes()),
    )
    reader = _Reader(packed)
    difference, counted = 0.0, 0
    moved: dict[str, int] = {}
    for sample in range(samples):
        feeds = {info.name: _random(info.name, info.shape, info.type, sample) for info in after.inputs}
        expected, found = before.values(feeds), after.values(feeds)
        for name, answer in zip(after.outputs, after.engines["latentbit"](feeds).outputs, strict=True):
            wanted = np.asarray(expected[name], np.float64)
            largest = float(np.abs(wanted).max(initial=0.0)) or 1.0
            difference = max(difference, float(np.abs(answer - wanted).max(initial=0.0)) / largest)
        for name, value in reader.steps.items():
            there = reader.value(value, {**expected, **feeds})
            if there is None or there.shape != found[value].shape:
                continue  # a value that the source does not have
            moved[name] = moved.get(name, 0) + int((there != found[value]).sum())
            counted += there.size
    return Comparison(samples, difference, moved, counted)


class _Reader:
    """``steps``: the values of a packed file that are signs or rounded, by the name of the node that makes them."""

    def __init__(self, packed: onnx.ModelProto) -> None:
        self._makers = {name: node for node in packed.graph.node for name in node.output}
        self._constants = {entry.name: numpy_helper.to_array(entry) for entry in packed.graph.initializer}
        self.steps = {
            node.name or node.output[0]: node.output[0]
            for node in packed.graph.node
            if (node.domain == DOMAIN and node.op_type == "Binarize") or (not node.domain and node.op_type in _STEPS)
        }

    def value(self, name: str, source: Mapping[str, NDArray[Any]]) -> NDArray[Any] | None:
        """Return what a value of the packed file is for the numbers of the source; None where they do not say."""
        if name in source and name not in self.steps.values():
            return source[name]
        if name in self._constants:
            return self._constants[name]
        node = self._makers.get(name)
        if node is None:
            return None
        if not node.domain and node.op_type in _STEPS:
            return source.get(name)
        inputs = [self.value(entry, source) for entry in node.input]
        if any(entry is None for entry in inputs):
            return None
        return _carried_out(node, [np.asarray(entry) for entry in inputs])


def _carried_out(node: onnx.NodeProto, inputs: Sequence[NDArray[Any]]) -> NDArray[Any] | None:
    """Carry out an operator that ``convert`` puts between a value of the source and its signs."""
    if node.op_type == "Binarize":
        return np.where(inputs[0] >= inputs[1], np.float32(1), np.float32(-1))
    if node.op_type == "Concat":
        return np.concatenate(inputs, axis=1)
    if node.op_type == "Gather":
        return np.take(inputs[0], inputs[1], axis=1)
    return np.asarray(inputs[0] * inputs[1]) if node.op_type == "Mul" else None


def _random(name: str, shape: Sequence[int | str | None], kind: str, seed: int) -> NDArray[Any]:
    sizes = [1 if axis == 0 and not isinstance(size, int) else size for axis, size in enumerate(shape)]
    if not all(isinstance(size, int) for size in sizes):
        raise ConfigError(f"the size of input {name} is not known, so it cannot be compared; export it with numbers")
    rng = np.random.default_rng(seed)
    known = [int(size) for size in sizes if isinstance(size, int)]
    if "float" in kind or "double" in kind:
        return rng.standard_normal(known).astype(np.float64 if "double" in kind else np.float32)
    bounds = {"tensor(bool)": (0, 2), "tensor(uint8)": (0, 256), "tensor(int8)": (-128, 128)}.get(kind, (0, 2))
    dtype = kind.removeprefix("tensor(").removesuffix(")")
    return rng.integers(*bounds, known).astype(dtype)
