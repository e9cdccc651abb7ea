"""Layers with binary weights and real activations: one bit a weight in the file, float arithmetic when run.

For networks whose activations do not bear binarising but whose size matters (the Binary-Weight-Networks of XNOR-Net,
arXiv 1603.05279, section 3.1). The runtime gives them to onnxruntime: with a real operand there is nothing to count.
"""

from collections.abc import Sequence

from .binary import BinaryConv2d, BinaryLinear

__all__ = ["BinaryWeightConv2d", "BinaryWeightLinear"]


class BinaryWeightConv2d(BinaryConv2d):
    """Convolution of a real input ``[N, C, H, W]``, padded with zeros, with α·sign(W), α = mean|W|; no bias."""

    reads_signs = False

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        *,
        stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] = 0,
        dilation: int | Sequence[int] = 1,
        groups: int = 1,
        estimator: str = "identity_clip",
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride=stride,
            padding=padding,
            dilation=dilation,
            groups=groups,
            pad_value=0,
            estimator=estimator,
        )


class BinaryWeightLinear(BinaryLinear):
    """Dense layer of a real input ``[..., in_features]`` with α·sign(W), α = mean|W|; no bias."""

    reads_signs = False
