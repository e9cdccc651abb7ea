"""Altered models, tried one after another by ``python -m latentbit.tests.support.fuzz FIRST COUNT``.

A mutant is drawn from its number alone. A fault is whatever is neither an answer nor a LatentbitError, and an answer
that differs from that of stock onnxruntime. :mod:`.hunt` watches this program, for it may die of a mutant.
"""

import contextlib
import resource
import sys
import traceback
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from latentbit.runtime.errors import LatentbitError
from latentbit.runtime.session import InferenceSession

from .fuzz_bases import BASES, EXACT, FIRST_BASES, LAST_BASES
from .graphs import USABLE
from .guarded import guard_buffers, guarded_copy
from .hunt import hunt, say

__all__ = ["EDGES", "LATER", "mutant"]

_NUMBERS = (-(2**31), -1, 0, 1, 2, 3, 5, 8, 12, 64, 255, 65_536, 2**31, 2**40, 2**62)


LATER = 2**40
"""From this number on there are more models and more ways to alter them; a number below stays what it was."""

EDGES = 2**41
"""From this number on inputs hold infinities and numbers close to the ends, and there is a model of two inputs."""

MEMORY = 12 * 2**30
"""Bytes of address space that a process of this program has."""

_SPECIAL = (0.0, -0.0, 1e-45, -1e38, 3.4e38, float("inf"), float("-inf"), float("nan"))
"""Numbers of which arithmetic makes something of its own."""


def mutant(number: int) -> bytes:
    """Return the altered model of this number; the operators' functions stay as they are."""
    rng = np.random.default_rng(number)
    model = _base(number)()
    functions = onnx.ModelProto(functions=model.functions).SerializeToString()
    del model.functions[:]
    if rng.random() < 0.2:
        data = bytearray(model.SerializeToString())
        for place in rng.integers(0, len(data), rng.integers(1, 4)):
            data[place] = rng.integers(0, 256)
        return bytes(data) + functions
    if rng.random() < 0.5:
        del model.graph.value_info[:]
    ways = _ALTER if number < LATER else (*_ALTER, _special, _special, _text)
    for _ in range(rng.integers(1, 3)):
        with contextlib.suppress(
            ValueError, IndexError, TypeError, StopIteration
        ):  # an alteration that finds nothing to alter
            ways[rng.integers(len(ways))](model.graph, rng)
    return model.SerializeToString() + functions


def _base(number: int) -> Callable[[], onnx.ModelProto]:
    bases = FIRST_BASES if number < LATER else BASES if number < EDGES else LAST_BASES
    return bases[number % len(bases)]


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


def _special(graph: onnx.GraphProto, rng: np.random.Generator) -> None:
    """Put a number that is none, or no ordinary one, into a float constant; sums of a Conv would no longer be exact."""
    summed = {name for node in graph.node if node.op_type == "Conv" for name in node.input}
    floats = [one for one in graph.initializer if one.data_type == onnx.TensorProto.FLOAT and not one.external_data]
    tensor = _pick(rng, [one for one in floats if one.name not in summed])
    values = numpy_helper.to_array(tensor).copy()
    values.reshape(-1)[int(rng.integers(values.size))] = _pick(rng, _SPECIAL)
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))


def _text(graph: onnx.GraphProto, rng: np.random.Generator) -> None:
    """Give a node a text, which may be none."""
    name = _pick(rng, ("mode", "auto_pad", "coordinate_transformation_mode", "x"))
    text = _pick(rng, (b"\xff", b"", b"SAME_UPPER", b"linear", b"tf_crop_and_resize"))
    entry = onnx.AttributeProto(name=name, type=onnx.AttributeProto.STRING, s=text)
    _pick(rng, graph.node).attribute.append(entry)


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


def _other_feeds(feeds: dict[str, NDArray[Any]], rng: np.random.Generator) -> dict[str, NDArray[Any]]:
    """Return inputs of another size, channels perhaps too, with infinities in them or none of anything."""
    other = {}
    for name, array in feeds.items():
        sizes = list(array.shape)
        for _ in range(int(rng.integers(0, 3)) if sizes else 0):
            sizes[int(rng.integers(len(sizes)))] = _pick(rng, (0, 1, 2, 5, 9, 16))
        values = np.asarray(100 * rng.uniform(-2, 2, sizes)).astype(array.dtype)
        if values.size and values.dtype.kind == "f" and rng.random() < 0.5:
            values.reshape(-1)[int(rng.integers(values.size))] = _pick(rng, _SPECIAL[:-1])
        other[name] = guarded_copy(values)
    return other


def _special_feeds(feeds: dict[str, NDArray[Any]], rng: np.random.Generator) -> dict[str, NDArray[Any]]:
    """Return inputs of the same sizes of which a fifth of the floats are special, and none is NaN."""
    special = {}
    for name, array in feeds.items():
        values = array.copy()
        if values.dtype.kind == "f":
            places = rng.random(values.shape) < 0.2
            values[places] = rng.choice(np.array(_SPECIAL[:-1], values.dtype), int(places.sum()))
        special[name] = guarded_copy(values)
    return special


def _try(number: int) -> str | None:
    data, rng = mutant(number), np.random.default_rng(number)
    say(number, "latentbit")
    answers: list[tuple[dict[str, NDArray[Any]], list[NDArray[Any]]]] = []
    try:
        options = {} if number < LATER else _options(np.random.default_rng(number + 1))
        session = InferenceSession(data, **options)
        feeds = _feeds(session, rng)
        several = [feeds, feeds] if number < LATER else [feeds, _other_feeds(feeds, rng), feeds]
        if number >= EDGES:
            several[1:1] = [_special_feeds(feeds, rng)]
        for fed in several:
            with contextlib.suppress(LatentbitError) if fed is not feeds else contextlib.nullcontext():
                answers.append((fed, session.run(None, fed)))
    except LatentbitError as error:
        return f"two lines: {error}" if "\n" in str(error) else None
    except Exception:
        return f"is no LatentbitError: {traceback.format_exc()}"
    say(number, "onnxruntime")
    return next((fault for fed, found in answers[1:] if (fault := _compare(number, data, fed, found))), None)


def _options(rng: np.random.Generator) -> dict[str, Any]:
    """Return how a session is opened: with any kernel, alone or shared among threads."""
    options: dict[str, Any] = {"kernel": _pick(rng, (None, *USABLE))}
    return options | ({"num_threads": 2, "share": "always"} if rng.random() < 0.1 else {})


def _compare(number: int, data: bytes, feeds: dict[str, NDArray[Any]], found: list[NDArray[Any]]) -> str | None:
    try:
        wanted = _stock(data, feeds)
    except Exception:
        return None  # we may answer where it does not: an unsorted name, a type that it lacks a kernel for
    same = _base(number) not in EXACT or all(
        np.array_equal(one, other, equal_nan=True) for one, other in zip(found, wanted, strict=True)
    )
    return None if same or _nan_in_a_pool(data, feeds) else "other answers than onnxruntime"


def _stock(data: bytes, feeds: dict[str, NDArray[Any]]) -> list[NDArray[Any]]:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    answers: list[NDArray[Any]] = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"]).run(
        None, feeds
    )
    return answers


def _nan_in_a_pool(data: bytes, feeds: dict[str, NDArray[Any]]) -> bool:
    """Tell whether a maximum is taken where there is a NaN: in onnxruntime its place says whether it counts."""
    model = onnx.load_from_string(data)
    wanted = {name for node in model.graph.node if "Max" in node.op_type for name in node.input[:1]}
    given = {value.name for value in (*model.graph.input, *model.graph.initializer)}
    names = sorted(wanted - given - {""})
    del model.graph.output[:]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    return bool(names) and any(
        np.isnan(value).any() for value in _stock(model.SerializeToString(), feeds) if value.dtype.kind == "f"
    )


if __name__ == "__main__":
    # onnxruntime may ask for what no machine has: here memory ends alike everywhere, and that is an error to be told.
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    guard_buffers()
    hunt(_try, *(int(argument) for argument in sys.argv[1:]))
