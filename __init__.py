"""latentbit: binary neural networks from PyTorch to packed ONNX to popcount kernels, with a proof of equality.

The stages lie in the folders, in the order in which data flows::

    training/ -> export/ -> runtime/        conducted by pipeline/
"""

__version__ = "0.1.0"

__all__ = ["__version__"]
