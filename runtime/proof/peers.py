"""What a user would run instead, made from the same file: each peer is a line in :data:`PEERS`.

A peer is a function ``(file bytes, feeds, threads) -> call``, the call running one inference on those feeds. All start
from the plain form of the model, functions inlined and packed weights unpacked to float at load, as onnxruntime itself
would do. Importing this module imports none of them: command lines list the names.
"""

import importlib
import logging
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import MissingExtraError
from ..files import scratch_folder
from .timing import stock_session

__all__ = ["PEERS", "Peer"]

Feeds = Mapping[str, NDArray[Any]]
Peer = Callable[[bytes, Feeds, int], Callable[[], object]]


def _onnxruntime(data: bytes, feeds: Feeds, threads: int) -> Callable[[], object]:
    session = stock_session(data, threads)
    return lambda: session.run(None, feeds)


def _onnxruntime_int8(data: bytes, feeds: Feeds, threads: int) -> Callable[[], object]:
    """Static quantisation, QDQ, per channel, unsigned activations and signed weights (U8S8: S8S8 is slower on x86).

    Two batches calibrate it: enough for timing, not for accuracy.
    """
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
        """Two batches of random data."""

        def __init__(self) -> None:
            self._seeds = iter((1, 2))

        def get_next(self) -> dict[str, NDArray[Any]] | None:
            """Return the next batch."""
            for seed in self._seeds:
                rng = np.random.default_rng(seed)
                return {
                    name: rng.standard_normal(value.shape).astype(np.float32)
                    if value.dtype == np.float32
                    else rng.integers(0, 256, value.shape).astype(value.dtype)
                    for name, value in feeds.items()
                }
            return None

    level = logging.root.level
    logging.disable(logging.WARNING)  # it advises to run its own pre-processing, which onnxruntime has done here
    try:
        with scratch_folder("latentbit-peer-") as scratch:
            plain, quantized = scratch / "plain.onnx", scratch / "int8.onnx"
            plain.write_bytes(_plain(data))
            quantize_static(
                str(plain),
                str(quantized),
                Reader(),
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                quant_format=QuantFormat.QDQ,
            )
            session = stock_session(quantized.read_bytes(), threads)
    finally:
        logging.disable(logging.NOTSET)
        logging.root.setLevel(level)
    return lambda: session.run(None, feeds)


def _openvino(data: bytes, feeds: Feeds, threads: int) -> Callable[[], object]:
    """OpenVINO on the plain form: its float kernels (nothing converts to its BinaryConvolution; see bench/)."""
    try:
        openvino: Any = importlib.import_module("openvino")
    except ModuleNotFoundError:
        raise MissingExtraError("the peer openvino is not installed: pip install openvino") from None
    core = openvino.Core()
    hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}
    network = core.read_model(_plain(data))
    network.reshape({name: list(value.shape) for name, value in feeds.items()})
    request = core.compile_model(network, "CPU", hints).create_infer_request()
    inputs = dict(feeds)
    return lambda: request.infer(inputs)


def _plain(data: bytes) -> bytes:
    """Return the model in plain ONNX: functions inlined, constants folded (onnxruntime's basic optimisations)."""
    import onnxruntime as ort

    with scratch_folder("latentbit-peer-") as scratch:
        path = scratch / "plain.onnx"
        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(path)
        options.log_severity_level = 3
        ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        return path.read_bytes()


PEERS: dict[str, Peer] = {
    "onnxruntime": _onnxruntime,
    "onnxruntime-int8": _onnxruntime_int8,
    "openvino": _openvino,
}
