"""What a caller feeds is checked before anything runs: names, dtypes, ranks, sizes, NaN."""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import helper

from ..errors import InputError, ModelError
from .model import Model

__all__ = ["InputSpec", "Shapes", "check_feeds", "check_shapes", "input_specs", "type_name"]

Shapes = tuple[tuple[int, ...], ...]
"""The shapes of all inputs, in their order."""

_NAMES = {"float32": "float", "float64": "double", "float16": "float16"}


@dataclass(frozen=True)
class InputSpec:
    """A graph input: numpy dtype, onnxruntime's name of the type, and sizes (None: of unknown rank)."""

    name: str
    dtype: np.dtype[Any]
    type: str
    shape: tuple[int | str | None, ...] | None


def type_name(elem: int) -> str:
    """Return onnxruntime's name of a tensor type, for example ``tensor(float)``."""
    if not elem:
        raise ModelError("an input or output of the model is no tensor; only tensors are supported")
    dtype = helper.tensor_dtype_to_np_dtype(elem)
    return f"tensor({_NAMES.get(dtype.name, dtype.name)})"


def input_specs(model: Model) -> list[InputSpec]:
    """Return the inputs that a caller must feed."""
    specs = []
    for info in model.proto.graph.input:
        if info.name in model.constants:
            continue
        known = model.types[info.name]
        if not known.elem:
            raise ModelError(f"input {info.name} of the model is no tensor; only tensors are supported")
        dtype = np.dtype(helper.tensor_dtype_to_np_dtype(known.elem))
        specs.append(InputSpec(info.name, dtype, type_name(known.elem), known.shape))
    return specs


def check_feeds(
    specs: Sequence[InputSpec], feeds: Mapping[str, Any], right: Container[Shapes] = ()
) -> dict[str, NDArray[Any]]:
    """Return the fed arrays in the order of the inputs, C-contiguous.

    right: shapes of all inputs that need no look, for they were found right before.
    Raises InputError, one line, naming the input and the mend.
    """
    arrays: dict[str, NDArray[Any]] = {}
    for spec in specs:
        name = spec.name
        if name not in feeds or len(feeds) != len(specs):
            _check_names(specs, feeds)
        array = feeds[name]
        if not isinstance(array, np.ndarray):
            raise InputError(f"input {name!r} is a {type(array).__name__}; feed a numpy array")
        if array.dtype != spec.dtype:
            raise InputError(
                f"input {name!r} has dtype {array.dtype}, the model needs {spec.dtype}; "
                f"convert it with .astype(np.{spec.dtype.name})"
            )
        arrays[name] = np.asarray(array, order="C")  # np.ascontiguousarray gives a single number an axis
    if tuple([array.shape for array in arrays.values()]) not in right:
        symbols: dict[str, tuple[int, str]] = {}
        for spec in specs:
            _check_shape(spec, feeds[spec.name].shape, symbols)
    for name, array in arrays.items():
        # The minimum of an array with a NaN is NaN: one pass.
        if array.dtype.kind == "f" and array.size and np.isnan(np.minimum.reduce(array, axis=None)):
            count = int(np.isnan(array).sum())
            raise InputError(f"input {name!r} holds {count} NaN of {array.size} values; repair the data first")
    return arrays


def _check_names(specs: Sequence[InputSpec], feeds: Mapping[str, Any]) -> None:
    names = [spec.name for spec in specs]
    for name in feeds:
        if name not in names:
            raise InputError(f"the model has no input {name!r}; feed {', '.join(names)}")
    for name in names:
        if name not in feeds:
            raise InputError(f"input {name!r} is missing; feed {', '.join(names)}")


def check_shapes(specs: Sequence[InputSpec], shapes: Mapping[str, Sequence[int]]) -> None:
    """Raise InputError where shapes are not those of all inputs, as for arrays that are fed."""
    symbols: dict[str, tuple[int, str]] = {}
    names = [spec.name for spec in specs]
    if sorted(names) != sorted(shapes):
        raise InputError(f"shapes are given for {', '.join(shapes) or 'nothing'}; the model has {', '.join(names)}")
    for spec in specs:
        _check_shape(spec, tuple(shapes[spec.name]), symbols)


def _check_shape(spec: InputSpec, shape: tuple[int, ...], symbols: dict[str, tuple[int, str]]) -> None:
    if spec.shape is None:
        return
    wanted = "[" + ", ".join("?" if size is None else str(size) for size in spec.shape) + "]"
    found = list(shape)
    if len(found) != len(spec.shape):
        raise InputError(
            f"input {spec.name!r} has rank {len(found)} {found}, the model needs rank {len(spec.shape)} {wanted}"
            + ("; add the batch axis with array[None]" if len(found) == len(spec.shape) - 1 else "")
        )
    for axis, (size, got) in enumerate(zip(spec.shape, found, strict=True)):
        if isinstance(size, int) and size != got:
            raise InputError(
                f"input {spec.name!r} has shape {found}, the model needs {wanted}: axis {axis} is {got}, not {size}"
            )
        if got < 1:
            raise InputError(f"input {spec.name!r} has shape {found}: axis {axis} is empty; feed at least one sample")
        if isinstance(size, str):
            known, other = symbols.setdefault(size, (got, spec.name))
            if known != got:
                raise InputError(
                    f"input {spec.name!r} has {size} = {got}, input {other!r} has {size} = {known}; feed equal sizes"
                )
