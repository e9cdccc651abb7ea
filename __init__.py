"""latentbit: binary neural networks from PyTorch to packed ONNX to popcount kernels, with a proof of equality.

The stages lie in the folders, in the order in which data flows::

    training/ -> export/ -> runtime/        conducted by pipeline/
"""

import os

__version__ = "0.1.0"

__all__ = ["__version__"]

# onnxruntime reads this when it is imported, and else writes a device id and calls its vendor. Every module of ours
# imports this one first; who has set the variable keeps it.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
