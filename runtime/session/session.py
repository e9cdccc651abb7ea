"""InferenceSession: a packed model, run by popcount kernels and onnxruntime, with the calls of onnxruntime."""

import json
import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from time import perf_counter_ns
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from ..errors import InputError, ModelError
from ..intake.feeds import check_feeds, input_specs, type_name
from ..intake.reading import load
from ..metrics import current_names
from ..plan.segments import FloatSegment, make_plan
from ..steps.conv import prepare
from .context import Context
from .float_model import ENGINE_ERRORS, make_session
from .info import StepInfo, describe
from .profile import StepTime, Stopwatch
from .program import Helpers

__all__ = ["InferenceSession", "LayerTrace", "ModelMeta", "ValueInfo"]

_SHAPES_KEPT = 4


@dataclass(frozen=True)
class ValueInfo:
    """An input or output of the model, as onnxruntime describes it: ``type`` such as ``tensor(float)``."""

    name: str
    type: str
    shape: list[int | str | None]


@dataclass(frozen=True)
class ModelMeta:
    """The descriptive part of a model file, with onnxruntime's names."""

    producer_name: str
    graph_name: str
    domain: str
    description: str
    version: int
    custom_metadata_map: dict[str, str]


@dataclass(frozen=True)
class LayerTrace:
    """What one binary layer read and summed.

    ``signs`` int8 ±1 ``[N, C, H, W]`` (dense: ``[N, K]``), ``accumulators`` int32 ``[N, O, H, W]`` (``[N, O]``).
    """

    name: str
    op_type: str
    signs: NDArray[np.int8]
    accumulators: NDArray[np.int32]


class InferenceSession:
    """Run a model file of latentbit.

    Args:
        source: path of a ``.onnx`` file, or its bytes.
        num_threads: threads per run.
        kernel: name of a kernel to prefer for every layer it takes; by default the fastest that fits CPU and layer.

    A session may be used by several threads at once. Raises ModelError for a file that cannot be run.
    """

    def __init__(self, source: str | PathLike[str] | bytes, *, num_threads: int = 1, kernel: str | None = None) -> None:
        if num_threads < 1:
            raise InputError(f"num_threads is {num_threads}; give 1 or more")
        model = load(source)
        graph = model.proto.graph
        self._inputs = input_specs(model)
        self._outputs = [ValueInfo(*_described(info)) for info in graph.output]
        self._meta = _meta(model.proto)
        self._plan = make_plan(model)
        self._prepared = prepare(self._plan.units, self._plan.stems, kernel)
        self._sessions = {
            index: make_session(model, segment, num_threads)
            for index, segment in enumerate(self._plan.segments)
            if isinstance(segment, FloatSegment)
        }
        self._steps = describe(self._plan, self._prepared)
        self._free: OrderedDict[Any, list[Context]] = OrderedDict()
        self._lock = threading.Lock()
        self._helpers = Helpers(num_threads - 1) if num_threads > 1 else None

    def run(self, output_names: Sequence[str] | None, feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """Return the outputs of these names (None: all) for the fed arrays.

        Raises InputError for a name, rank, dtype or size that does not fit the model, and for NaN.
        """
        names = self._names(output_names)
        arrays = check_feeds(self._inputs, feeds)
        context, fresh = self._borrow(arrays)
        try:
            if not fresh:
                context.run(arrays)
            return [context.result(name) for name in names]
        finally:
            self._give_back(context, arrays)

    def trace(self, feeds: Mapping[str, NDArray[Any]]) -> list[LayerTrace]:
        """Run, and return for every packed layer the signs it read and its accumulators, by the same kernels."""
        arrays = check_feeds(self._inputs, feeds)
        context, _ = self._borrow(arrays)
        try:
            found = context.trace(arrays)
        finally:
            self._give_back(context, arrays)
        traces = []
        for unit, (signs, sums) in found.items():
            flat = (signs[:, :, 0, 0], sums[:, :, 0, 0]) if unit.dense else (signs, sums)
            traces.append(LayerTrace(unit.layer.name, unit.layer.op_type, *flat))
        return traces

    def profile(
        self, feeds: Mapping[str, NDArray[Any]], *, clock: Callable[[], int] = perf_counter_ns
    ) -> list[StepTime]:
        """Run once, in one thread, and return the time of every step (:mod:`.profile` sums and draws them).

        ``clock`` gives nanoseconds: ``time.thread_time_ns`` leaves out what other processes take. Run before, so that
        buffers are bound and caches warm.
        """
        arrays = check_feeds(self._inputs, feeds)
        context, _ = self._borrow(arrays)
        watch = Stopwatch(clock)
        try:
            context.profile(arrays, watch)
        finally:
            self._give_back(context, arrays)
        return watch.steps

    def get_inputs(self) -> list[ValueInfo]:
        """Return name, type and shape of every input."""
        return [ValueInfo(spec.name, spec.type, list(spec.shape or ())) for spec in self._inputs]

    def get_outputs(self) -> list[ValueInfo]:
        """Return name, type and shape of every output."""
        return list(self._outputs)

    def get_modelmeta(self) -> ModelMeta:
        """Return producer, version and metadata of the file."""
        return self._meta

    def get_steps(self) -> list[StepInfo]:
        """Return the steps in order: what runs packed on which kernel, what runs float, and why."""
        return list(self._steps)

    def get_metrics(self) -> dict[str, float | None]:
        """Return the accuracies that training and folding wrote into the file (``latentbit.metrics``), if any.

        Fractions under the names of :mod:`latentbit.runtime.metrics`, and ``folded``; None for what was not measured.
        """
        try:
            metrics = json.loads(self._meta.custom_metadata_map.get("latentbit.metrics", "{}"))
        except ValueError:
            raise ModelError("the metadata latentbit.metrics of the model is no JSON; export it again") from None
        return current_names(metrics) if isinstance(metrics, dict) else {}

    def saved_bytes(self) -> int:
        """Return how many bytes larger the file would be with float32 instead of packed weights."""
        layers = self._plan.model.layers.values()
        return sum(4 * math.prod(layer.shape) - layer.packed.size for layer in layers)

    def _names(self, wanted: Sequence[str] | None) -> list[str]:
        known = [info.name for info in self._outputs]
        for name in wanted or ():
            if name not in known:
                raise InputError(f"the model has no output {name!r}; it has {', '.join(known)}")
        return list(wanted) if wanted else known

    def _borrow(self, arrays: Mapping[str, NDArray[Any]]) -> tuple[Context, bool]:
        """Return a context for these shapes and whether it was made (and so has run) just now."""
        key = _key(arrays)
        with self._lock:
            free = self._free.get(key)
            if free:
                return free.pop(), False
        try:
            return Context(self._plan, self._sessions, self._prepared, arrays, self._helpers), True
        except ENGINE_ERRORS as error:
            shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in arrays.items())
            raise InputError(f"the model cannot run on {shapes}: {str(error).splitlines()[0]}") from None

    def _give_back(self, context: Context, arrays: Mapping[str, NDArray[Any]]) -> None:
        with self._lock:
            self._free.setdefault(_key(arrays), []).append(context)
            self._free.move_to_end(_key(arrays))
            while len(self._free) > _SHAPES_KEPT:
                self._free.popitem(last=False)


def _key(arrays: Mapping[str, NDArray[Any]]) -> tuple[Any, ...]:
    return tuple((name, array.shape) for name, array in sorted(arrays.items()))


def _described(info: onnx.ValueInfoProto) -> tuple[str, str, list[int | str | None]]:

    shape = [
        dim.dim_value if dim.HasField("dim_value") else (dim.dim_param or None)
        for dim in info.type.tensor_type.shape.dim
    ]
    return info.name, type_name(info.type.tensor_type.elem_type), shape


def _meta(proto: onnx.ModelProto) -> ModelMeta:
    metadata = {entry.key: entry.value for entry in proto.metadata_props}
    return ModelMeta(
        proto.producer_name, proto.graph.name, proto.domain, proto.doc_string, proto.model_version, metadata
    )
