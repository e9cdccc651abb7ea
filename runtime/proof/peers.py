"""What a user would run instead, made from the same file: each peer is a line in :data:`PEERS`.

A peer is a function ``(file bytes, feeds, threads) -> call``, the call running one inference on those feeds. All start
from the plain form of the model, functions inlined and packed weights unpacked to float at load, as onnxruntime itself
would do. Importing this module imports none of them: command lines list the names.
"""

import importlib
from collections.abc import Callable, Mapping
from typing import Any

from numpy.typing import NDArray

from ..errors import MissingExtraError
from .quantizing import plain_form, quantize_int8, random_batches
from .timing import stock_session

__all__ = ["PEERS", "Peer"]

Feeds = Mapping[str, NDArray[Any]]
Peer = Callable[[bytes, Feeds, int], Callable[[], object]]


def _onnxruntime(data: bytes, feeds: Feeds, threads: int) -> Callable[[], object]:
    session = stock_session(data, threads)
    return lambda: session.run(None, feeds)


def _onnxruntime_int8(data: bytes, feeds: Feeds, threads: int) -> Callable[[], object]:
    """Two random batches calibrate it: enough for timing, not for accuracy."""
    session = stock_session(quantize_int8(data, random_batches(feeds)), threads)
    return lambda: session.run(None, feeds)


def _openvino(data: bytes, feeds: Feeds, threads: int) -> Callable[[], object]:
    """OpenVINO on the plain form: its float kernels (nothing converts to its BinaryConvolution; see bench/)."""
    try:
        openvino: Any = importlib.import_module("openvino")
    except ModuleNotFoundError:
        raise MissingExtraError("the peer openvino is not installed: pip install openvino") from None
    core = openvino.Core()
    hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}
    network = core.read_model(plain_form(data))
    network.reshape({name: list(value.shape) for name, value in feeds.items()})
    request = core.compile_model(network, "CPU", hints).create_infer_request()
    inputs = dict(feeds)
    return lambda: request.infer(inputs)


PEERS: dict[str, Peer] = {
    "onnxruntime": _onnxruntime,
    "onnxruntime-int8": _onnxruntime_int8,
    "openvino": _openvino,
}
