"""The int8 form of a float model, as a user of onnxruntime would make it."""

import logging
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..files import scratch_folder

__all__ = ["plain_form", "quantize_int8", "random_batches"]

Feeds = Mapping[str, NDArray[Any]]


def quantize_int8(data: bytes, batches: Iterable[Feeds]) -> bytes:
    """Return the file in int8: static quantisation, QDQ, per channel, calibrated on these batches (smallest, largest).

    Activations are unsigned and weights signed (U8S8: S8S8 is slower on x86).
    """
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
        """The batches, one a call."""

        def __init__(self) -> None:
            self._batches = iter(batches)

        def get_next(self) -> Feeds | None:
            """Return the next batch."""
            return next(self._batches, None)

    level = logging.root.level
    logging.disable(logging.WARNING)  # it advises to run its own pre-processing, which onnxruntime has done here
    try:
        with scratch_folder("latentbit-peer-") as scratch:
            plain, quantized = scratch / "plain.onnx", scratch / "int8.onnx"
            plain.write_bytes(plain_form(data))
            quantize_static(
                str(plain),
                str(quantized),
                Reader(),
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                quant_format=QuantFormat.QDQ,
            )
            return quantized.read_bytes()
    finally:
        logging.disable(logging.NOTSET)
        logging.root.setLevel(level)


def random_batches(feeds: Feeds) -> Iterable[Feeds]:
    """Yield two batches of random data like these feeds: they calibrate well enough for timing, not for accuracy."""
    for seed in (1, 2):
        rng = np.random.default_rng(seed)
        yield {
            name: rng.standard_normal(value.shape).astype(np.float32)
            if value.dtype == np.float32
            else rng.integers(0, 256, value.shape).astype(value.dtype)
            for name, value in feeds.items()
        }


def plain_form(data: bytes) -> bytes:
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
