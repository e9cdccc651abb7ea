"""``prove``: the file that an export made is run beside the network that it was made of, and compared.

``export_onnx`` calls it with the bytes that it is about to write; called by hand it says what was compared.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ....runtime.errors import LatentbitError, UnsupportedError, first_line
from ....runtime.proof.engines import Answer, Candidate
from ..pixels import Pixels, check_pixels, normalisation
from ..reader import read_module
from .cases import Case, make_cases
from .eager import Eager, Run
from .faults import first_fault
from .outputs import agree, difference
from .ranking import ranking_fault

__all__ = ["Proof", "prove"]

_INT8 = 0.05
"""How much rounding weights to int8 may change, as a share of the largest value.

Each is off by at most 1/254 of the largest of its channel. Networks of the catalogue differed by 0.5% in their outputs
at most, and turned signs up to 0.3% from their threshold.
"""

_TYPES = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(float16)": np.float16}

_WRAPPERS = {"DataParallel": "module", "DistributedDataParallel": "module", "OptimizedModule": "_orig_mod"}
"""By the name of a type, where it holds the network that it runs; hooks of the wrapped network's layers do not run
in a compiled one."""

_MAX_FLIPPED_SHARE = 1e-4
"""Of the signs that a network makes without ``RSign``, whose thresholds are not known, so many may be turned."""


@dataclass
class Proof:
    """What was compared, over all cases and both engines.

    ``failure`` says what is wrong first, None if nothing is. ``samples`` were run, of which ``judged`` by their outputs
    (in the others a sign that no packed layer reads lies on its threshold). ``largest_difference`` is of those.
    ``turned`` counts by packed layer the signs that only rounding turned, of all ``signs``; ``integers`` were compared
    bit for bit.
    """

    failure: str | None = None
    samples: int = 0
    judged: int = 0
    largest_difference: float = 0.0
    signs: int = 0
    turned: dict[str, int] = field(default_factory=dict)
    integers: int = 0


def prove(
    network: nn.Module,
    example_input: Any,
    model: str | PathLike[str] | bytes,
    *,
    pixels: Pixels | None = None,
    exact_stem: bool = False,
    int8_weights: bool = False,
) -> Proof:
    """Compare a file with the network that it was exported from, and return what was found.

    network: is left as it is: mode, device, buffers, hooks, and the state of torch's random numbers.
    example_input: as :func:`latentbit.export.export_onnx` takes it; docs/export.md says what else is run.
    model: path of the file, or its bytes.
    pixels, exact_stem, int8_weights: as they were given to the export. The last two round weights: the file may differ
    by 5% of the largest values then, and what an export without them gives is compared as ever.

    Raises UnsupportedError for a network that cannot answer its own example.
    """
    data = model if isinstance(model, bytes) else Path(model).read_bytes()
    network = _on_the_cpu(network)
    examples = [torch.as_tensor(entry).cpu() for entry in _sequence(example_input)]
    prepare: Callable[[Tensor], Tensor] = normalisation(check_pixels(pixels)) if pixels else lambda x: x
    if not exact_stem and not int8_weights:
        return _judge(data, Eager(network, prepare), examples)
    plain = ir.to_proto(read_module(network, examples, pixels=pixels)).SerializeToString()
    proof = _judge(plain, Eager(network, prepare), examples)
    return proof if proof.failure else _judge(data, Eager(network, prepare, _INT8), examples)


def _judge(data: bytes, eager: Eager, examples: Sequence[Tensor]) -> Proof:
    try:
        candidate = Candidate(data)
    except LatentbitError as error:
        return Proof(failure=f"the file cannot be run: {error}")
    return _Judge(candidate, eager).judge(examples)


class _Judge:
    """A file and the network that it must answer like."""

    def __init__(self, candidate: Candidate, eager: Eager) -> None:
        self._candidate, self._eager, self._proof = candidate, eager, Proof()
        self._runs: list[tuple[Answer, Run]] = []

    def judge(self, examples: Sequence[Tensor]) -> Proof:
        """Judge all cases on all engines, up to the first failure."""
        for case in make_cases(examples, [info.shape for info in self._candidate.inputs]):
            self._runs.clear()
            for engine, call in self._candidate.engines.items():
                failure = self._judge(case, call)
                if failure is not None:
                    self._proof.failure = f"{engine}, on {case.name}: {failure}"
                    return self._proof
        if not self._proof.judged:
            self._proof.failure = "in every sample a sign lies on its threshold: give an example in which none does"
        return self._proof

    def _judge(self, case: Case, call: Callable[[Mapping[str, NDArray[Any]]], Answer]) -> str | None:
        feeds = {
            info.name: _array(tensor).astype(_TYPES.get(info.type, _array(tensor).dtype))
            for info, tensor in zip(self._candidate.inputs, case.inputs, strict=True)
        }
        refusal, answer = None, Answer([], {})
        try:
            answer = call(feeds)
        except LatentbitError as error:
            refusal = f"the file cannot be run: {first_line(error)}"
        try:
            run = self._run(case, answer)
        except Exception as error:
            if case.given:
                raise UnsupportedError(f"the network cannot answer its example: {first_line(error)}") from error
            return None  # nor does the network take what was made up
        if refusal is not None:
            return refusal
        failure = self._judge_layers(case, answer, run) or self._judge_outputs(case, answer, run)
        if failure is not None:
            try:
                return f"{failure}; {first_fault(self._candidate, self._eager, case.inputs, feeds, answer)}"
            except LatentbitError:  # the file cannot be cut open
                return failure
        return ranking_fault(self._candidate.outputs, answer.outputs, len(run.outputs))

    def _run(self, case: Case, answer: Answer) -> Run:
        """Return the eager answer to a case; two engines that read the same signs share one."""
        for other, run in self._runs:
            if other.signs.keys() == answer.signs.keys() and all(
                np.array_equal(signs, answer.signs[name]) for name, signs in other.signs.items()
            ):
                return run
        self._runs.append((answer, self._eager.run(case.inputs, answer)))
        return self._runs[-1][1]

    def _bounds(self, case: Case, answer: Answer, run: Run) -> list[Run]:
        if not run.bounds:
            run.bounds = [self._eager.run(case.inputs, answer, shift=shift) for shift in (-1, 1)]
        return run.bounds

    def _judge_layers(self, case: Case, answer: Answer, run: Run) -> str | None:
        """Judge what the packed layers read and sum, in the order in which they are called."""
        for index, reading in enumerate(run.readings):
            self._proof.integers += reading.integers if answer.sums else 0
            self._proof.signs += reading.differs.size
            if reading.differs.any():
                bounds = self._bounds(case, answer, run)
                low, high = (bound.readings[index].own.float().numpy() for bound in bounds)
                astray = int(np.count_nonzero(reading.differs & (low == high)))
                if astray > (0 if self._eager.thresholds else _MAX_FLIPPED_SHARE * reading.differs.size):
                    return f"{astray} of the {reading.differs.size} signs that {reading.name} reads are others"
                turned = int(np.count_nonzero(reading.differs))
                self._proof.turned[reading.name] = self._proof.turned.get(reading.name, 0) + turned
            if reading.wrong:
                return f"{reading.wrong} of the {reading.integers} sums of {reading.name} are others"
        return None

    def _judge_outputs(self, case: Case, answer: Answer, run: Run) -> str | None:
        names = self._candidate.outputs
        if len(names) < len(run.outputs):
            return f"the network returns {len(run.outputs)} tensors, the file {len(names)}"
        single = all(tensor.shape[:1] == (1,) for tensor in case.inputs)
        pairs = [
            (name, _with_batch(_array(tensor), found) if single else _array(tensor), found)
            for name, tensor, found in zip(names, run.outputs, answer.outputs, strict=False)
        ]
        counts = {expected.shape[:1] for _, expected, _ in pairs}
        samples = next(iter(counts))[0] if len(counts) == 1 and () not in counts else 1
        for name, expected, found in pairs:
            if expected.shape != found.shape:
                return f"{name} has the shape {list(found.shape)}, the network gives {list(expected.shape)}"
        slack = self._eager.slack
        good = [_rows(agree(expected, found, slack), samples) for _, expected, found in pairs]
        steady = np.ones(samples, np.bool_)
        if not np.all(good) and self._eager.thresholds:
            low, high = self._bounds(case, answer, run)
            for one, other in zip(low.outputs, high.outputs, strict=True):
                steady &= _rows(agree(_array(one), _array(other), slack), samples)
        self._proof.samples += samples
        self._proof.judged += int(np.count_nonzero(steady))
        for (name, expected, found), rows in zip(pairs, good, strict=True):
            apart, allowed = difference(expected, found, steady, slack)
            if not (rows | ~steady).all():
                return f"{name} differs by {apart:.2g}, rounding may change it by {allowed:.2g}"
            self._proof.largest_difference = max(self._proof.largest_difference, apart)
        return None


def _with_batch(expected: NDArray[Any], found: NDArray[Any]) -> NDArray[Any]:
    """Return the answer to a single sample with the batch axis that ``squeeze()`` took away; a file keeps that axis."""
    return expected[None] if found.shape == (1, *expected.shape) else expected


def _rows(good: NDArray[np.bool_], samples: int) -> NDArray[np.bool_]:
    return good if len(good) == samples else np.full(samples, good.all())


def _array(tensor: Tensor) -> NDArray[Any]:
    plain = tensor.detach()
    values: NDArray[Any] = (plain.float() if plain.dtype == torch.bfloat16 else plain).numpy()
    return values


def _sequence(example_input: Any) -> Sequence[Any]:
    return [example_input] if isinstance(example_input, Tensor | np.ndarray) else list(example_input)


def _on_the_cpu(network: nn.Module) -> nn.Module:
    """Return the network without wrappers; a copy where it is on another device: there sums are less precise."""
    while (wrapped := _WRAPPERS.get(type(network).__name__)) is not None:
        network = getattr(network, wrapped)
    held = [*network.parameters(), *network.buffers()]
    return network if all(tensor.device.type == "cpu" for tensor in held) else copy.deepcopy(network).cpu()
