"""InferenceSession: a packed model, run by popcount kernels and onnxruntime, with the calls of onnxruntime."""

import math
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from os import PathLike
from time import perf_counter_ns
from typing import Any, TypeVar
from weakref import WeakSet

import numpy as np
import onnx
from numpy.typing import NDArray

from ..errors import InputError, ModelError, first_line
from ..files import parse_json
from ..intake.feeds import Shapes, check_feeds, check_shapes, input_specs, type_name
from ..intake.limits import current_limits
from ..intake.model import Model
from ..metrics import current_names
from ..plan.units import Unit
from ..steps.buffers import Arrays
from .context import Context
from .float_model import engine_errors
from .info import StepInfo, describe
from .memory import MemoryUse, forecast
from .opened import open_model, own_floats
from .profile import StepTime, Stopwatch
from .program import Helpers
from .self_test import KEY, Record, SelfTest, compare, layer_signs, made_inputs, made_record, read_record
from .values import LayerTrace, ModelMeta, ValueInfo

__all__ = ["InferenceSession", "LayerTrace", "ModelMeta", "ValueInfo"]

_SHAPES_KEPT = 4
_sessions: "WeakSet[InferenceSession]" = WeakSet()
"""All that are open: after a fork each has to know."""

Result = TypeVar("Result")
_SHARE = ("auto", "always", "never")
"""Whether kernels share their work out among the threads of a session."""


class InferenceSession:
    """Run a model file of latentbit.

    Args:
        source: path of a ``.onnx`` file, or its bytes.
        num_threads: threads per run.
        kernel: name of a kernel to prefer for every layer it takes; by default the fastest that fits CPU and layer.
        share: with several threads, whether the kernels share their work out among them. ``"auto"`` does so where it
            is measured to help; ``"always"`` whenever the threads are free (another run of this session may have them);
            ``"never"`` leaves the kernels to the calling thread, and several threads to float parts alone.

    A session may be used by several threads at once, and in the handler of a signal. Its first call for new input
    shapes makes the buffers, which takes longer. Sessions on the same file share its weights.

    In a forked process a session of one thread goes on. One of several is refused there with an InputError, for its
    threads stay behind; so is one that another thread was running when the process was forked, for onnxruntime may have
    been left in the middle of its work. Open it after the fork.

    Raises ModelError for a file that cannot be run, InputError for an option that cannot be used.
    """

    def __init__(
        self,
        source: str | PathLike[str] | bytes,
        *,
        num_threads: int = 1,
        kernel: str | None = None,
        share: str = "auto",
    ) -> None:
        if num_threads < 1:
            raise InputError(f"num_threads is {num_threads}; give 1 or more")
        if num_threads > (most := current_limits().threads):
            raise InputError(f"num_threads is {num_threads}, and the limit threads is {most}")
        if share not in _SHARE:
            raise InputError(f"share is {share!r}; give one of {', '.join(_SHARE)}")
        if share == "always" and num_threads == 1:
            raise InputError("share='always' has nobody to share with; give num_threads=2 or more")
        self._opened, self._floats = open_model(source, kernel, num_threads)
        model = self._opened.plan.model
        self._inputs = input_specs(model)
        self._outputs = [_described(info, model) for info in model.proto.graph.output]
        self._meta = _meta(model.proto)
        self._free: OrderedDict[Shapes, list[Context]] = OrderedDict()
        self._contexts: WeakSet[Context] = WeakSet()
        self._lock = threading.RLock()  # a signal handler may run the session while its thread holds it
        self._left_behind: str | None = None
        self._others_run = False
        self._num_threads = num_threads
        alone = num_threads == 1 or share == "never"
        self._helpers = None if alone else Helpers(num_threads - 1, always=share == "always")
        _sessions.add(self)

    def run(self, output_names: Sequence[str] | None, feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """Return the outputs of these names (None: all) for the fed arrays.

        Raises InputError for a name, rank, dtype or size that does not fit the model, and for NaN.
        """
        names = self._names(output_names)
        arrays = check_feeds(self._inputs, feeds, self._free)
        return self._in_context(arrays, lambda context: context.run(arrays, names))

    def trace(self, feeds: Mapping[str, NDArray[Any]]) -> list[LayerTrace]:
        """Run, and return for every packed layer the signs it read and its accumulators, by the same kernels."""
        arrays = check_feeds(self._inputs, feeds, self._free)
        traces = []
        for unit, (signs, sums) in self._in_context(arrays, lambda context: context.trace(arrays)).items():
            flat = (signs[0, :, :, 0].T, sums[0, :, :, 0].T) if unit.dense else (signs, sums)
            traces.append(LayerTrace(unit.name, unit.layer.op_type, *flat))
        return traces

    def profile(
        self,
        feeds: Mapping[str, NDArray[Any]],
        *,
        counting_only: bool = False,
        clock: Callable[[], int] = perf_counter_ns,
    ) -> list[StepTime]:
        """Run once, in one thread, and return the time of every step (:mod:`.profile` sums and draws them).

        ``counting_only`` gives instead the times of the binary layers without their epilogue: they count, and write
        nothing. No fusion can make a layer faster than that.

        ``clock`` gives nanoseconds; ``time.thread_time_ns`` leaves out what other processes take. Call :meth:`run`
        first, so that buffers are bound and caches are warm.
        """
        arrays = check_feeds(self._inputs, feeds, self._free)
        watch = Stopwatch(clock)
        if counting_only:
            self._in_context(arrays, lambda context: context.count(arrays, watch))
        else:
            self._in_context(arrays, lambda context: context.profile(arrays, watch))
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
        return describe(self._opened.plan)

    def get_metrics(self) -> dict[str, float | None]:
        """Return the accuracies that training and folding wrote into the file (``latentbit.metrics``), if any.

        Fractions under the names of :mod:`latentbit.runtime.metrics`, and ``folded``; None for what was not measured.
        """
        try:
            metrics = parse_json(self._meta.custom_metadata_map.get("latentbit.metrics", "{}"))
            return current_names({name: None if one is None else float(one) for name, one in metrics.items()})
        except (ValueError, TypeError, AttributeError, OverflowError):
            raise ModelError("the metadata latentbit.metrics of the model are no figures; export it again") from None

    def self_test(self) -> SelfTest | None:
        """Compute what the file's self-test asks for, and return what was compared; None where the file has none.

        It takes about as long as three runs. Nothing runs it by itself but the command line.
        Raises CheckFailed where this machine computes otherwise than the file says, so that nobody is served wrong
        answers; ModelError for a self-test that cannot be read or run (:mod:`.self_test` says what is compared).
        """
        text = self._meta.custom_metadata_map.get(KEY)
        if text is None:
            return None
        stated = read_record(text)
        return compare(stated, self.self_test_record(stated.inputs))

    def self_test_record(self, shapes: Mapping[str, Sequence[int]]) -> Record:
        """Return what a self-test with inputs of these shapes gives on this machine.

        Raises ModelError for inputs that are not those of the model, are no numbers or pass the limit memory_bytes;
        InputError for shapes that do not fit it.
        """
        feeds = made_inputs({spec.name: spec.dtype for spec in self._inputs}, shapes)
        arrays = check_feeds(self._inputs, feeds, self._free)
        outputs = dict(zip((info.name for info in self._outputs), self.run(None, feeds), strict=True))
        traces = self.trace(feeds)
        sums = self._in_context(arrays, lambda context: context.layer_sums(arrays, _signs_of))
        return made_record(shapes, traces, {unit.name: found for unit, found in sums.items()}, outputs)

    def memory(self, shapes: Mapping[str, Sequence[int]]) -> MemoryUse:
        """Return the bytes that opening the model and running it on inputs of these shapes takes, each at most.

        None of it is taken for the answer (:mod:`.memory` says what is known and what is a bound). It holds for one run
        at a time; each further one that runs beside it takes ``kernels`` again. A second session on the same file, with
        the same kernels, takes less than this, for it shares what the first has opened.
        Raises InputError for shapes that do not fit, and where a size depends on more than the shapes of the inputs.
        """
        check_shapes(self._inputs, shapes)
        return forecast(self._opened.plan, self._opened.prepared, shapes)

    def saved_bytes(self) -> int:
        """Return how many bytes larger the file would be with float32 instead of packed weights."""
        layers = self._opened.plan.model.layers.values()
        return sum(4 * math.prod(layer.shape) - layer.packed.size for layer in layers)

    def _names(self, wanted: Sequence[str] | None) -> list[str]:
        known = [info.name for info in self._outputs]
        for name in wanted or ():
            if name not in known:
                raise InputError(f"the model has no output {name!r}; it has {', '.join(known)}")
        return list(wanted) if wanted else known

    def _after_fork(self) -> None:
        """Go on in a new process, where no thread but the one that forked exists."""
        self._lock = threading.RLock()
        if self._num_threads > 1:
            self._left_behind = (
                f"this session of {self._num_threads} threads was opened before the process was forked, and its "
                "threads stayed there; open it in the new process, or with num_threads=1"
            )
        elif _left_running(self._contexts):
            self._left_behind = (
                "another thread was running this session when the process was forked, and may have left onnxruntime "
                "in the middle of its work; open it in the new process"
            )
        elif _left_running(self._floats.contexts):  # by another session on the same file: only that one is refused
            self._others_run = True
            self._free = OrderedDict()

    def _in_context(self, arrays: Arrays, use: Callable[[Context], Result]) -> Result:
        """Return what ``use`` makes of a context for these shapes; a context in which it fails is not used again."""
        key = tuple([array.shape for array in arrays.values()])
        if self._left_behind is not None:
            raise InputError(self._left_behind)
        with self._lock:
            free = self._free.get(key)
            context = free.pop() if free else None  # a handler in between gives back what it takes
            if context is None:
                if self._others_run:
                    self._floats, self._others_run = own_floats(self._opened), False
                opened, floats = self._opened, self._floats
                context = Context(opened.plan, floats.sessions, opened.prepared, self._helpers)
                floats.contexts.add(context)
                self._contexts.add(context)
            context.thread = threading.get_ident()
        try:
            result = use(context)
        except engine_errors() as error:
            shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in arrays.items())
            raise InputError(f"the model cannot run on {shapes}: {first_line(error)}") from None
        except MemoryError:
            raise InputError("this machine has not the memory that inputs of this size need; feed fewer") from None
        finally:
            context.thread = None
        with self._lock:
            self._free.setdefault(key, []).append(context)
            self._free.move_to_end(key)
            while len(self._free) > _SHAPES_KEPT:
                self._free.popitem(last=False)
        return result


def _left_running(contexts: Iterable[Context]) -> bool:
    """Return whether another thread, which a fork has left behind, was running one of these."""
    return any(context.thread not in (None, threading.get_ident()) for context in contexts)


def _after_fork() -> None:
    """Give the sessions of a new process what its threads may have held when they were left behind."""
    for session in _sessions:
        session._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _signs_of(unit: Unit, shape: tuple[int, ...]) -> NDArray[np.int8]:
    return layer_signs(unit.name, shape)


def _described(info: onnx.ValueInfoProto, model: Model) -> ValueInfo:
    shape = [
        dim.dim_value if dim.HasField("dim_value") else (dim.dim_param or None)
        for dim in info.type.tensor_type.shape.dim
    ]
    return ValueInfo(info.name, type_name(model.types[info.name].elem), shape)


def _meta(proto: onnx.ModelProto) -> ModelMeta:
    metadata = {entry.key: entry.value for entry in proto.metadata_props}
    return ModelMeta(
        proto.producer_name, proto.graph.name, proto.domain, proto.doc_string, proto.model_version, metadata
    )
