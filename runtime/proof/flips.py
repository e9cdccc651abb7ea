"""Samples with a sign that came out otherwise than recorded: whether rounding explains it, and all that follows.

Two engines that sum floats in another order differ in the last bits, and so a value close to its threshold may lie on
its other side. A value that is far from it does not. Behind such a sign everything may differ by more than rounding, so
the outputs of that sample say nothing of the file. Therefore stock onnxruntime runs the file once more for it, and each
layer is given the signs that were recorded, whatever the layers before it make of theirs. Nothing is excused then:

- every recorded sign has to be that of the value before it, or the value lies close to its threshold;
- where this runtime is the first to read another sign, the value lies close to its threshold too;
- the outputs are those that were recorded, within the same tolerance as for a sample without such a sign.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from ..bits import DOMAIN
from ..operators import STANDARD_DOMAINS
from .reference import ONLY, Reference
from .timing import stock_session
from .tolerances import Tolerances

__all__ = ["Flip", "Flips", "judge_flips"]

Flip = tuple[int, NDArray[np.int64]]
"""A sample, and where in what a layer reads of it the signs are others: indices into the flat values."""

_SAME_ORDER = ("Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze")
"""Standard operators that leave every value of a sample at its place in the flat order."""

_LOOKED_AT = 64
"""Samples: a file that is wrong shows it in the first ones."""


class Flips(NamedTuple):
    """What was found of flipped signs: a sentence for each failure, and the margins of each layer.

    ``margins``: how far the value before a flipped sign lies from its threshold at most, as a share of the largest
    value there, by layer; of the samples that were looked at.
    """

    failures: Sequence[str] = ()
    margins: Mapping[str, float] = {}


def judge_flips(
    data: bytes, input_name: str, recorded: Reference, first: Mapping[str, Sequence[Flip]], allowed: Tolerances
) -> Flips:
    """Return what rounding does not explain of a file, ``data``: a sentence for every such layer and output.

    first: by layer the flips of the samples in which it is the first to have one; all of these samples are looked at.
    """
    flips = {(layer, sample): places for layer, found in first.items() for sample, places in found}
    samples = sorted({sample for _, sample in flips})[:_LOOKED_AT]
    if not samples:
        return Flips()
    forced = _Forced(data, recorded)
    far: dict[str, tuple[int, float]] = {}
    failures: list[str] = []
    margins: dict[str, float] = {}
    differences = dict.fromkeys(recorded.outputs, 0.0)
    for sample in samples:
        values, outputs = forced.run({input_name: recorded.inputs[sample : sample + 1]}, sample)
        for layer, (value, threshold) in values.items():
            turned = _turned(value, threshold, forced.signs(layer, sample))
            if turned is None:
                continue  # the layer reads something else than the values of this sign
            turned |= _at(flips.get((layer, sample)), turned.size)
            distances = np.abs(value.astype(np.float64) - threshold).reshape(-1)[: turned.size][turned]
            shares = distances / max(float(np.abs(value).max()), np.finfo(np.float32).tiny)
            count, farthest = far.get(layer, (0, 0.0))
            count += int(np.count_nonzero(~(shares <= allowed.max_flip_distance)))
            far[layer] = count, max(farthest, float(shares.max(initial=0.0)))
            if shares.size and np.isfinite(far[layer][1]):
                margins[layer] = far[layer][1]
        for name, found in outputs.items():
            wanted = recorded.outputs[name][sample]
            off = np.abs(found[: wanted.size] - wanted.reshape(-1).astype(np.float64))
            largest = float(off.max(initial=0.0))
            differences[name] = max(differences[name], largest if np.isfinite(largest) else np.inf)
    for layer, (count, farthest) in far.items():
        if count:
            failures.append(
                f"layer {layer}: rounding does not explain {count} signs that are others than recorded: the values "
                f"before them lie up to {farthest:.2g} of the largest off the threshold, "
                f"allowed is {allowed.max_flip_distance}"
            )
    for name, difference in differences.items():
        limit = _limit(name, recorded, allowed)
        if not difference <= limit:
            failures.append(
                f"given the recorded signs, the file answers {difference:.3g} off the recorded {name} on samples with "
                f"a flipped sign, allowed is {limit:.3g}"
            )
    return Flips(failures, margins)


class _Forced:
    """The file in stock onnxruntime with every layer's signs fed from outside."""

    def __init__(self, data: bytes, recorded: Reference) -> None:
        self._recorded = recorded
        model = onnx.load_from_string(data)
        graph = model.graph
        self._fixed = graph.input[0].type.tensor_type.shape.dim[0].dim_value or 1
        self._before = {layer: sign for layer in recorded.signs if (sign := _sign_before(graph, layer)) is not None}
        self._layers = []
        known = {info.name for info in (*graph.output, *graph.input)}
        values = {value for value, _ in self._before.values()} - known
        first = graph.output[0].name
        self._outputs = {name: first if set(recorded.outputs) == {ONLY} else name for name in recorded.outputs}
        for node in graph.node:
            layer = node.name or (node.output[0] if node.output else "")
            if layer in recorded.signs and node.domain == DOMAIN:
                node.input[0] = f"{layer}·signs"
                self._layers.append(layer)
                kind = onnx.TensorProto.FLOAT
                graph.input.append(onnx.helper.make_tensor_value_info(node.input[0], kind, None))
        graph.output.extend(onnx.ValueInfoProto(name=name) for name in sorted(values))
        self._session: Any = stock_session(model.SerializeToString(), 1)

    def signs(self, layer: str, sample: int) -> NDArray[np.int8]:
        """Return what was recorded that a layer reads of a sample."""
        return self._recorded.signs_of(layer, slice(sample, sample + 1))

    def run(
        self, feeds: dict[str, NDArray[Any]], sample: int
    ) -> tuple[dict[str, tuple[NDArray[Any], NDArray[Any]]], dict[str, NDArray[np.float64]]]:
        """Return by layer the values before its signs with the threshold, and by name the outputs, flat."""
        fed = {name: np.repeat(array, self._fixed, axis=0) for name, array in feeds.items()}
        for layer in self._layers:
            signs = self.signs(layer, sample).astype(np.float32)
            fed[f"{layer}·signs"] = np.tile(signs, (self._fixed, *(1 for _ in signs.shape[1:])))
        wanted = [value for value, _ in self._before.values() if value not in fed]
        names = [*wanted, *self._outputs.values()]
        found = fed | dict(zip(names, self._session.run(names, fed), strict=True))
        values = {layer: (found[value], threshold) for layer, (value, threshold) in self._before.items()}
        outputs = {name: found[own].reshape(-1).astype(np.float64) for name, own in self._outputs.items()}
        return values, outputs


def _turned(value: NDArray[Any], threshold: NDArray[Any], signs: NDArray[np.int8]) -> NDArray[np.bool_] | None:
    """Return where the signs of values, one sample's, are not those recorded; None where these are of other values."""
    here = (value >= threshold).reshape(-1)
    if here.size % signs.size:
        return None
    turned: NDArray[np.bool_] = here[: signs.size] != (signs.reshape(-1) > 0)
    return turned


def _at(places: NDArray[np.int64] | None, size: int) -> NDArray[np.bool_]:
    marked = np.zeros(size, np.bool_)
    if places is not None:
        marked[places[places < size]] = True
    return marked


def _limit(name: str, recorded: Reference, allowed: Tolerances) -> float:
    if recorded.class_scores:
        return allowed.max_logit_difference
    return allowed.max_output_difference * float(np.abs(recorded.outputs[name].astype(np.float64)).max(initial=0.0))


def _sign_before(graph: onnx.GraphProto, layer: str) -> tuple[str, NDArray[Any]] | None:
    """Return the value and the threshold of the sign that a layer reads; None where it is not seen from the file."""
    makers = {output: node for node in graph.node for output in node.output}
    node = next((node for node in graph.node if (node.name or node.output[0]) == layer), None)
    source = None if node is None else makers.get(node.input[0])
    while source is not None and source.domain in STANDARD_DOMAINS and source.op_type in _SAME_ORDER:
        source = makers.get(source.input[0])
    if source is None or (source.domain, source.op_type) != (DOMAIN, "Binarize"):
        return None
    for tensor in graph.initializer:
        if tensor.name == source.input[1]:
            return source.input[0], numpy_helper.to_array(tensor)
    return None
