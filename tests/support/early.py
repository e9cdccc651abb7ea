"""What the oldest onnxruntime that is supported answers otherwise than ONNX says, so that no test can hold us to it."""

import onnxruntime as ort
import pytest

__all__ = ["EARLY", "needs_sound_infinities"]

EARLY = ort.__version__.startswith("1.19.")

needs_sound_infinities = pytest.mark.skipif(
    EARLY,
    reason="onnxruntime 1.19 makes NaN of an infinity in PRelu, and a number of a NaN in Erf",
)
