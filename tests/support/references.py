"""The reference of a packed model, made of its own answers: what the accuracy check compares a file with."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from latentbit.runtime import InferenceSession
from latentbit.runtime.bits import pack_signs

__all__ = ["write_own_reference"]


def write_own_reference(data: bytes, inputs: NDArray[Any], path: Path) -> None:
    """Write the logits of stock onnxruntime, their best classes as labels, and the signs that each layer reads."""
    (logits,) = onnxruntime.InferenceSession(data).run(None, {"input": inputs})
    arrays: dict[str, Any] = {"inputs": inputs, "labels": logits.argmax(axis=1), "logits": logits}
    for layer in InferenceSession(data).trace({"input": inputs}):
        arrays[f"signs/{layer.name}"] = pack_signs(layer.signs, axis=1)
        arrays[f"shape/{layer.name}"] = np.array(layer.signs.shape[1:])
    np.savez(path, **arrays)
