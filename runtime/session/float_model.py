"""Float segments: a part of the model's graph as a model of its own, run by onnxruntime.

Values that cross the border to the kernels are NHWC or rows outside; inside the segment they are turned::

    x·nhwc ─ Transpose ─► x ─► nodes of the segment ─► y ─ Transpose ─► y·nhwc
    t·rows ─ Reshape ─► t                              u ─ Reshape ─► u·rows

onnxruntime is imported by the first session that has a float segment: a network without one starts sooner, and smaller.
"""

import sys
from collections.abc import Mapping
from typing import Any

import onnx
from onnx import helper, numpy_helper

from ..bits import DOMAIN
from ..errors import ModelError
from ..intake.model import Model
from ..operators import STANDARD_DOMAINS
from ..plan.graph import read_values
from ..plan.segments import FloatSegment
from .borders import Turned, value_info
from .sizes import state_sizes

__all__ = ["engine_errors", "make_session", "open_session", "plain_output"]


def engine_errors() -> tuple[type[Exception], ...]:
    """Return the exceptions of onnxruntime, which have no common root; none where nobody has imported it.

    Its message may quote damaged bytes that are no text.
    """
    if "onnxruntime" not in sys.modules:
        return ()
    import onnxruntime.capi.onnxruntime_pybind11_state as states

    kinds = (value for value in vars(states).values() if isinstance(value, type) and issubclass(value, Exception))
    return (*kinds, UnicodeDecodeError)


def _segment_model(model: Model, segment: FloatSegment) -> onnx.ModelProto:
    """Build the model of one float segment. Raises ModelError where the type of a border value is not known."""
    handed = {*segment.plain_out, *segment.channel_last_out, *segment.rows_out}
    nodes, sizes = state_sizes(model, [model.proto.graph.node[index] for index in segment.nodes], handed)
    made = {name for node in nodes for name in node.output}
    inputs = [value_info(model, name, name) for name in segment.plain_in]
    turned = Turned(model)
    inputs += [turned.image_in(name) for name in segment.channel_last_in]
    inputs += [turned.rows_in(name) for name in segment.rows_in]
    outputs = [turned.image_out(name) for name in segment.channel_last_out]
    outputs += [turned.rows_out(name) for name in segment.rows_out]
    before, after = turned.before, turned.after
    for name in segment.plain_out:
        outputs.append(value_info(model, name, plain_output(name)))
        # Under a name of its own: onnxruntime refuses an output that is an input or an initializer as well.
        after.append(helper.make_node("Identity", [name], [plain_output(name)]))
    wanted = {name for node in nodes for name in read_values(node)} | handed
    constants = [numpy_helper.from_array(model.constants[name], name) for name in sorted(wanted & set(model.constants))]
    constants += turned.constants + sizes
    proto = model.proto
    graph = helper.make_graph([*before, *nodes, *after], "segment", inputs, outputs, constants)
    graph.value_info.extend(info for info in proto.graph.value_info if info.name in made)
    functions = proto.functions if any(node.domain not in STANDARD_DOMAINS for node in nodes) else ()
    imports = [entry for entry in proto.opset_import if entry.domain != DOMAIN or functions]
    return helper.make_model(graph, ir_version=proto.ir_version, opset_imports=imports, functions=list(functions))


def plain_output(name: str) -> str:
    """Return the name under which a value in the file's layout leaves a segment."""
    return f"{name}·out"


def make_session(model: Model, segment: FloatSegment, num_threads: int) -> Any:
    """Return the onnxruntime session of a segment."""
    # onnxruntime's threads would go on spinning while our own work on the next segment.
    entries = {"session.intra_op.allow_spinning": "0"}
    return open_session(_segment_model(model, segment).SerializeToString(), num_threads, entries)


def open_session(data: bytes, num_threads: int, entries: Mapping[str, str] | None = None) -> Any:
    """Return an onnxruntime session on the CPU with these configuration entries; a refusal becomes a ModelError."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = num_threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    for name, value in (entries or {}).items():
        options.add_session_config_entry(name, value)
    try:
        session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except engine_errors() as error:
        raise ModelError(f"onnxruntime refuses a float part of the model: {str(error).splitlines()[0]}") from None
    session._model_bytes = None  # it would keep them for a change of providers, which is not made here
    return session
