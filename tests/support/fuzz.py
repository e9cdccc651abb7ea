"""Altered models, tried one after another by ``python -m latentbit.tests.support.fuzz FIRST COUNT``.

A mutant is drawn from its number alone. A fault is whatever is neither an answer nor a LatentbitError, and an answer
that differs from that of stock onnxruntime. :mod:`.hunt` watches this program, for it may die of a mutant.
"""

import contextlib
import sys
import traceback
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from latentbit.runtime.errors import LatentbitError
from latentbit.runtime.session import InferenceSession

from .graphs import GraphMaker, chain
from .guarded import guard_buffers, guarded_copy
from .hunt import hunt, say

__all__ = ["BASES", "mutant"]

_NUMBERS = (-(2**31), -1, 0, 1, 2, 3, 5, 8, 12, 64, 255, 65_536, 2**31, 2**40, 2**62)


def plain() -> onnx.ModelProto:
    """Return a network whose answers are exact on every engine: pools, residuals, groups, a dense head."""
    maker = GraphMaker(1)
    first = maker.conv(maker.binarize("input", 8), maker.signs(8, 8, 3, 3), pads=(1, 1, 1, 1), unit=True)
    value = maker.rprelu(maker.node("Add", [first, "input"]), 8)
    value = maker.node("MaxPool", [value], kernel_shape=[2, 2], strides=[2, 2])
    value = maker.conv(maker.binarize(value, 8), maker.signs(8, 2, 2, 2), group=4, unit=True)
    value = maker.conv(maker.binarize(value, 8), maker.signs(16, 8, 1, 1), unit=True)
    value = maker.node("Flatten", [maker.node("GlobalMaxPool", [value])])
    maker.dense(maker.binarize(value, 16, rank=2), maker.signs(4, 16), unit=True)
    maker.nodes[-1].output[0] = "logits"
    return maker.model({"input": ["N", 8, "H", "W"]}, ["logits"])


def pixels() -> onnx.ModelProto:
    """Return an exact stem over pixels with a pool, and a binary layer on it."""
    maker = GraphMaker(2)
    value = maker.node("Cast", [maker.node("Transpose", ["input"], perm=[0, 3, 1, 2])], to=onnx.TensorProto.FLOAT)
    value = maker.node("Sub", [value, maker.constant(np.full((3, 1, 1), 128.0))])
    weight = maker.constant(maker.rng.integers(-9, 9, (8, 3, 3, 3)).astype(np.float32))
    value = maker.node("Conv", [value, weight], kernel_shape=[3, 3], strides=[1, 1], pads=[1, 1, 1, 1])
    value = maker.node("Mul", [maker.node("Round", [value]), maker.constant(np.full((8, 1, 1), 0.25))])
    value = maker.node("Add", [value, maker.per_channel(8)])
    value = maker.node("MaxPool", [value], kernel_shape=[2, 2], strides=[2, 2])
    out = maker.conv(maker.binarize(value, 8), maker.signs(8, 8, 1, 1), unit=True)
    model = maker.build({"input": ["N", "H", "W", 3]}, {out: None})
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.UINT8
    return onnx.shape_inference.infer_shapes(model)


BASES = (plain, pixels, chain)
"""What is altered, by turns; the last one has a float shortcut, whose sums are not those of onnxruntime to the bit."""


def mutant(number: int) -> bytes:
    """Return the altered model of this number; the operators' functions stay as they are."""
    rng = np.random.default_rng(number)
    model = BASES[number % len(BASES)]()
    functions = onnx.ModelProto(functions=model.functions).SerializeToString()
    del model.functions[:]
    if rng.random() < 0.2:
        data = bytearray(model.SerializeToString())
        for place in rng.integers(0, len(data), rng.integers(1, 4)):
            data[place] = rng.integers(0, 256)
        return bytes(data) + functions
    if rng.random() < 0.5:
        del model.graph.value_info[:]
    for _ in range(rng.integers(1, 3)):
        with contextlib.suppress(
            ValueError, IndexError, TypeError, StopIteration
        ):  # an alteration that finds nothing to alter
            _ALTER[rng.integers(len(_ALTER))](model.graph, rng)
    return model.SerializeToString() + functions


def _pick(rng: np.random.Generator, values: Any) -> Any:
    return values[int(rng.integers(len(values)))]


def _shape(graph: onnx.GraphProto, rng: np.random.Generator) -> None:
    info = _pick(rng, [*graph.input, *graph.output])
    shape = info.type.tensor_type.shape
    if rng.random() < 0.2:
        info.type.tensor_type.ClearField("shape")
    elif rng.random() < 0.2:
        del shape.dim[-1]
    elif rng.random() < 0.5:
        _pick(rng, shape.dim).dim_param = _pick(rng, ["N", "C"])
    else:
        _pick(rng, shape.dim).dim_value = _pick(rng, _NUMBERS)


def _attribute(graph: onnx.GraphProto, rng: np.random.Generator) -> None:
    node = _pick(rng, [entry for entry in graph.node if entry.attribute])
    place = int(rng.integers(len(node.attribute)))
    entry = node.attribute[place]
    choice = rng.random()
    if choice < 0.1:
        del node.attribute[place]
    elif choice < 0.2:
        node.attribute.append(entry)
    elif choice < 0.35:
        value = _pick(rng, [1, [1, 1], 0.5, "text", ["a", "b"], [0.5]])
        node.attribute[place].CopyFrom(helper.make_attribute(entry.name, value))
    elif entry.ints:
        entry.ints[int(rng.integers(len(entry.ints)))] = _pick(rng, _NUMBERS)
    elif entry.type == onnx.AttributeProto.FLOAT:
        entry.f = _pick(rng, [-1.0, 0.0, 1.0, 0.5, float("nan")])
    else:
        entry.i = _pick(rng, _NUMBERS)


def _weight(graph: onnx.GraphProto, rng: np.random.Generator) -> None:
    """Change the channels of a layer with its packed weight, in a file that no longer states any channels."""
    node = _pick(rng, [entry for entry in graph.node if entry.op_type.startswith("BinaryC")])
    entry = next(value for value in node.attribute if value.name == "weight_shape")
    entry.ints[1] = _pick(rng, (1, 3, 8, 16, 64, 2000))
    outputs, inputs, height, width = entry.ints
    if not 0 <= outputs * height * width < 2**20:  # altered before: a weight of that shape cannot be made
        return
    packed = rng.integers(0, 256, (outputs, height, width, -(-inputs // 8)), np.uint8)
    maker = next(value for value in graph.node if node.input[0] in value.output)
    for tensor in graph.initializer:
        if tensor.name == node.input[1]:
            tensor.CopyFrom(numpy_helper.from_array(packed, tensor.name))
        elif tensor.name == maker.input[1]:
            tensor.CopyFrom(numpy_helper.from_array(np.zeros(1, np.float32), tensor.name))
    del graph.value_info[:]
    graph.input[0].type.tensor_type.shape.dim[1].dim_param = "C"


def _tensor(graph: onnx.GraphProto, rng: np.random.Generator) -> None:
    tensor = _pick(rng, graph.initializer)
    choice = rng.random()
    if choice < 0.25:
        tensor.dims[int(rng.integers(len(tensor.dims)))] = _pick(rng, _NUMBERS)
    elif choice < 0.4:
        tensor.data_type = int(rng.integers(0, 24))
    elif choice < 0.5:
        tensor.raw_data = tensor.raw_data[:-1]
    elif choice < 0.6:
        tensor.data_location = onnx.TensorProto.EXTERNAL
        entry = tensor.external_data.add()
        entry.key, entry.value = "location", "hostname"
    elif choice < 0.7:
        graph.initializer.append(tensor)
    else:
        shape = [int(size) for size in rng.integers(0, 9, rng.integers(0, 5))]
        tensor.CopyFrom(numpy_helper.from_array(rng.standard_normal(shape).astype(np.float32), tensor.name))


def _wire(graph: onnx.GraphProto, rng: np.random.Generator) -> None:
    node, other = _pick(rng, graph.node), _pick(rng, graph.node)
    names = [*other.input, *other.output, "ghost", ""]
    side = node.input if rng.random() < 0.7 else node.output
    side[int(rng.integers(len(side)))] = _pick(rng, names)


def _node(graph: onnx.GraphProto, rng: np.random.Generator) -> None:
    node, choice = _pick(rng, graph.node), rng.random()
    if choice < 0.3:
        graph.node.remove(node)
    elif choice < 0.5:
        graph.node.append(node)
    elif choice < 0.7:
        node.op_type = _pick(rng, graph.node).op_type
    elif choice < 0.8:
        del node.output[:]
    elif choice < 0.9:
        node.domain = _pick(rng, ["", "ai.latentbit", "com.microsoft", "x"])
    else:
        graph.output.append(graph.output[0])


_ALTER = (_shape, _attribute, _weight, _tensor, _wire, _node)


def _feeds(session: InferenceSession, rng: np.random.Generator) -> dict[str, NDArray[Any]]:
    """Return inputs, with nothing behind their last byte, that the model's declared sizes let pass, or nearly."""
    feeds = {}
    for info in session.get_inputs():
        channels = int(_pick(rng, (8, 8, 8, 1, 3, 16)))
        usual = (2, 6, 7, channels, 2) if info.type == "tensor(uint8)" else (2, channels, 6, 7, 2)
        shape = [size if isinstance(size, int) and size < 100 else usual[axis] for axis, size in enumerate(info.shape)]
        dtype = {"tensor(float)": np.float32, "tensor(uint8)": np.uint8}.get(info.type, np.float64)
        sizes = [max(size, 0) for size in shape]
        feeds[info.name] = guarded_copy(
            (100 * rng.uniform(0, 2, sizes) if dtype is np.uint8 else rng.uniform(-2, 2, sizes)).astype(dtype)
        )
    return feeds


def _try(number: int) -> str | None:
    data, rng = mutant(number), np.random.default_rng(number)
    say(number, "latentbit")
    try:
        session = InferenceSession(data)
        feeds = _feeds(session, rng)
        session.run(None, feeds)
        found = session.run(None, feeds)
    except LatentbitError as error:
        return f"two lines: {error}" if "\n" in str(error) else None
    except Exception:
        return f"is no LatentbitError: {traceback.format_exc()}"
    say(number, "onnxruntime")
    options = ort.SessionOptions()
    options.log_severity_level = 4
    try:
        wanted = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"]).run(None, feeds)
    except Exception:
        return None  # we may answer where it does not: an unsorted name, a type that it lacks a kernel for
    same = BASES[number % len(BASES)] is chain or all(
        np.array_equal(one, other, equal_nan=True) for one, other in zip(found, wanted, strict=True)
    )
    return None if same else "other answers than onnxruntime"


if __name__ == "__main__":
    guard_buffers()
    hunt(_try, *(int(argument) for argument in sys.argv[1:]))
