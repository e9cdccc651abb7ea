"""The float network that a model was made from, beside it: in float and in int8, what each costs and what each gets."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike, fspath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError, DataError, ModelError, first_line
from ..files import parse_json
from ..intake.source import parse_model, read_bytes
from ..session.float_model import engine_errors
from ..session.session import InferenceSession
from .answers import batches
from .quantizing import quantize_int8, random_batches
from .reference import Reference, load_reference
from .timing import stock_session

__all__ = ["Original", "Runner", "labelled", "open_original"]

CALIBRATED = 100
"""Samples of the reference that calibrate the int8 form."""

_TYPES = {"tensor(float)": np.dtype(np.float32), "tensor(uint8)": np.dtype(np.uint8)}


@dataclass(frozen=True)
class Runner:
    """A session, ours or onnxruntime's, and its ``input``; ``prepare`` makes that of what the packed model is fed."""

    session: Any
    input: str
    prepare: Callable[[NDArray[Any]], NDArray[Any]] = np.asarray

    def answer(self, own: NDArray[Any]) -> Any:
        """Return the first output for a batch that is prepared already."""
        return self.session.run(None, {self.input: own})[0]

    def accuracy(self, reference: Reference) -> float:
        """Return the share of right answers on all samples of a reference."""
        found: Sequence[NDArray[Any]] = [
            np.asarray(self.answer(self.prepare(batch)))[:live].argmax(axis=1)
            for live, batch in batches(self.session, reference.inputs)
        ]
        return float(np.mean(np.concatenate(found) == reference.labels))


@dataclass(frozen=True)
class Original:
    """The files of the float network, by the name of what runs them; ``prepare`` makes their input of the model's."""

    input: str
    files: Mapping[str, bytes]
    prepare: Callable[[NDArray[Any]], NDArray[Any]]

    def runners(self, threads: int) -> dict[str, Runner]:
        """Return what runs each file."""
        return {
            name: Runner(stock_session(file, threads), self.input, self.prepare) for name, file in self.files.items()
        }


def open_original(
    source: str | PathLike[str] | bytes,
    session: InferenceSession,
    feeds: Mapping[str, NDArray[Any]],
    reference: Reference | None,
) -> Original:
    """Return the float network of a file, and its int8 form.

    session, feeds: the model beside it, and what it is timed on. The network takes the same array, or the floats
    ``[N, C, H, W]`` that a model with an exact stem makes of its pixels itself.
    reference: its first samples calibrate the int8 form; without one random data do, and no accuracy means anything.

    Raises ModelError for a file that onnxruntime cannot run, and for a model that does not say what its pixels mean
    where accuracy is asked for; ConfigError for a network of other inputs or of another output.
    """
    shown = "the float network" if isinstance(source, bytes) else f"the float network {fspath(source)}"
    data = read_bytes(source)
    parse_model(source, data)
    try:
        stock = stock_session(data, 1)
    except ModelError as error:
        raise ModelError(f"{shown} does not open: {error}") from None
    fed = next(iter(feeds.values()))
    prepare = _preparation(shown, stock, session, fed, reference is not None)
    own, name = prepare(fed), stock.get_inputs()[0].name
    try:
        found = np.shape(stock.run(None, {name: own})[0])
    except engine_errors() as error:
        raise ModelError(f"{shown} does not run on the model's input: {first_line(error)}") from None
    ours = session.run(None, dict(feeds))[0].shape
    if found != ours:
        raise ConfigError(f"{shown} answers {list(found)} and the model {list(ours)}: the model was not made from it")
    calibration = random_batches({name: own})
    if reference is not None:
        parts = batches(stock, reference.inputs[:CALIBRATED])
        calibration = ({name: prepare(part)} for _, part in parts)
    try:
        int8 = quantize_int8(data, calibration)
    except Exception as error:  # onnxruntime's tools raise whatever the graph brings them to
        raise ModelError(f"{shown} has no int8 form, onnxruntime says: {first_line(error)}") from None
    return Original(name, {"original fp32": data, "original int8": int8}, prepare)


def _preparation(
    shown: str, stock: Any, session: InferenceSession, fed: NDArray[Any], exact: bool
) -> Callable[[NDArray[Any]], NDArray[Any]]:
    """Return what makes the network's input of the model's; ``exact``: its numbers matter, not its shape alone."""
    entries, count = stock.get_inputs(), len(session.get_inputs())
    if len(entries) != 1 or count != 1:
        raise ConfigError(f"{shown} is compared on one input; it has {len(entries)} and the model {count}")
    if _fits(entries[0], fed):
        return np.asarray
    if fed.dtype == np.uint8 and fed.ndim == 4 and _fits(entries[0], _floats(fed, 255, 0, 1)):
        return _of_pixels(session, exact)
    taken = f"{entries[0].type} {entries[0].shape}"
    raise ConfigError(
        f"{shown} takes {taken}, and the model is fed {fed.dtype} {list(fed.shape)}: give the network that it was made "
        "from, exported for such a batch"
    )


def _fits(entry: Any, array: NDArray[Any]) -> bool:
    sizes = zip(entry.shape, array.shape, strict=False)
    if _TYPES.get(entry.type) != array.dtype or len(entry.shape) != array.ndim:
        return False
    return all(size == got for size, got in sizes if isinstance(size, int))


def _of_pixels(session: InferenceSession, exact: bool) -> Callable[[NDArray[Any]], NDArray[Any]]:
    """Return what makes normalised floats of pixels, as the model's own file says."""
    try:
        stated: Any = parse_json(session.get_modelmeta().custom_metadata_map.get("latentbit.input", "null"))
        span, mean, std = (np.asarray(stated[key], np.float32) for key in ("range", "mean", "std"))
    except (KeyError, TypeError, ValueError, OverflowError):
        if exact:
            raise ModelError(
                "the model's metadata latentbit.input does not say what its pixels mean to the float network, so no "
                "accuracy can be compared; leave the reference out"
            ) from None
        span, mean, std = (np.asarray(value, np.float32) for value in (255, 0, 1))
    return lambda pixels: _floats(pixels, span, mean, std)


def _floats(pixels: NDArray[Any], span: Any, mean: Any, std: Any) -> NDArray[np.float32]:
    """Return pixels uint8 ``[N, H, W, C]`` as normalised float32 ``[N, C, H, W]``."""
    normal = (pixels.astype(np.float32) / span - mean) / std
    return np.ascontiguousarray(np.moveaxis(normal, -1, 1), np.float32)


def labelled(source: Reference | str | PathLike[str]) -> Reference:
    """Return a reference whose labels tell right answers. Raises DataError for one without labels."""
    reference = source if isinstance(source, Reference) else load_reference(source)
    if not reference.class_scores:
        raise DataError("the reference has no class numbers (labels), so no accuracy can be measured on it")
    return reference
