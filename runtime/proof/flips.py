"""Signs that came out otherwise than recorded: whether rounding explains them.

Two engines that sum floats in another order differ in the last bits, and so a value close to its threshold may lie on
its other side. A value that is far from it does not. So for every sample the first layer that reads another sign is
looked at: whatever was read before it is as recorded, and what was computed from that may differ by rounding alone.
Stock onnxruntime tells the value before each of these signs in the file that is checked. Behind the first such layer of
a sample all may differ, so nothing is said of it.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from ..bits import DOMAIN
from ..operators import STANDARD_DOMAINS
from .timing import stock_session
from .tolerances import Tolerances

__all__ = ["Flip", "flip_failures"]

Flip = tuple[int, NDArray[np.int64]]
"""A sample, and where in what a layer reads of it the signs are others: indices into the flat values."""

_SAME_ORDER = ("Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze")
"""Standard operators that leave every value of a sample at its place in the flat order."""


_LOOKED_AT = 64
"""Samples a layer: a file that is wrong shows it in the first ones."""


def flip_failures(
    data: bytes, feeds: Mapping[str, NDArray[Any]], first: Mapping[str, Sequence[Flip]], allowed: Tolerances
) -> Iterator[str]:
    """Yield a sentence for every layer of a file, ``data``, with a flipped sign that rounding does not explain.

    feeds: all recorded inputs, by name. first: by layer the flips of the samples in which it is the first to have one.
    """
    model = onnx.load_from_string(data)
    signs = {layer: sign for layer in first if (sign := _sign_before(model.graph, layer)) is not None}
    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    known = {info.name for info in (*model.graph.output, *model.graph.input)}
    values = {value for value, _ in signs.values()}
    shown.graph.output.extend(onnx.ValueInfoProto(name=name) for name in sorted(values - known))
    if not signs:
        return
    session: Any = stock_session(shown.SerializeToString(), 1)
    for layer, (value, threshold) in signs.items():
        far, farthest = 0, 0.0
        for sample, places in first[layer][:_LOOKED_AT]:
            part = {name: _batch_of(model, array[sample : sample + 1]) for name, array in feeds.items()}
            found: NDArray[Any] = part[value] if value in part else session.run([value], part)[0]
            distances = np.abs(found.astype(np.float64) - threshold).reshape(-1)
            if places.max() >= distances.size:
                continue  # the layer reads something else than the values of this sign
            shares = distances[places] / max(float(np.abs(found).max()), np.finfo(np.float32).tiny)
            far += int(np.count_nonzero(~(shares <= allowed.max_flip_distance)))
            farthest = max(farthest, float(shares.max()))
        if far:
            yield (
                f"layer {layer}: rounding does not explain {far} signs that are others than recorded: the values "
                f"before them lie up to {farthest:.2g} of the largest off the threshold, "
                f"allowed is {allowed.max_flip_distance}"
            )


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


def _batch_of(model: onnx.ModelProto, one: NDArray[Any]) -> NDArray[Any]:
    """Return one sample as often as the model wants: the first is looked at."""
    dims = model.graph.input[0].type.tensor_type.shape.dim
    return np.repeat(one, max(1, dims[0].dim_value), axis=0) if dims else one
