"""Write the conformance suite: one folder a case, in the layout of ONNX's own backend tests.

    python -m tests.conformance.make_cases

``cases/exact/NAME`` must be met bit for bit, ``cases/float/NAME`` within rtol 1e-5 and atol 1e-5 (they sum floats).
The inputs come from a seed, the expected outputs from :mod:`tests.support.integers`: no ONNX runtime is asked.
"""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import onnx
from onnx import numpy_helper

from ..support.twin import Twin, Value

__all__ = ["CASES", "FOLDER", "files"]

FOLDER = Path(__file__).parent / "cases"


def conv_case(shape: tuple[int, int, int, int], outputs: int, **geometry: object) -> Callable[[Twin], Value]:
    """A convolution of the signs of an input."""
    return lambda t: t.conv(t.binarize(t.input(*shape)), outputs, **geometry)  # type: ignore[arg-type]


def gemm_case(batch: int, inputs: int, outputs: int) -> Callable[[Twin], Value]:
    """A dense layer of the signs of an input."""
    return lambda t: t.gemm(t.binarize(t.input(batch, inputs)), outputs)


def threshold_chain(t: Twin) -> Value:
    """Two layers with nothing but a threshold between them."""
    x = t.binarize(t.input(2, 9, 6, 5))
    return t.conv(t.binarize(t.conv(x, 10, pads=(1, 1, 1, 1))), 7, pads=(1, 1, 1, 1), pad_value=-1)


def rprelu_chain(t: Twin) -> Value:
    """A chain without residual whose slopes are partly negative."""
    x = t.binarize(t.input(2, 9, 6, 5))
    return t.conv(t.binarize(t.rprelu(t.conv(x, 33, pads=(1, 1, 1, 1), pad_value=1))), 5)


def residual_block(t: Twin) -> Value:
    """The block of Bi-Real Net and ReActNet, twice."""
    x = t.input(2, 12, 5, 7)
    for _ in range(2):
        x = t.rprelu(t.add(t.conv(t.binarize(x), 12, pads=(1, 1, 1, 1)), x))
    return x


def pooled_signs(t: Twin) -> Value:
    """Max-pool over signs is an OR of bits."""
    x = t.max_pool(t.binarize(t.input(2, 11, 9, 8)), 3, 2, 1)
    return t.conv(x, 6, pads=(1, 1, 1, 1), pad_value=-1)


def pooled_sums(t: Twin) -> Value:
    """Max-pool between a layer and the next sign."""
    x = t.conv(t.binarize(t.input(2, 8, 10, 10)), 16, pads=(1, 1, 1, 1))
    return t.conv(t.binarize(t.max_pool(x, 2, 2, 0)), 4)


def concatenated_signs(t: Twin) -> Value:
    """Signs of two branches side by side, their channels no multiple of eight."""
    x = t.input(2, 5, 6, 6)
    return t.conv(t.concat(t.binarize(x), t.binarize(t.input(2, 6, 6, 6))), 9, pads=(1, 1, 1, 1))


def shared_signs(t: Twin) -> Value:
    """One Binarize read by two layers, whose outputs are added."""
    x = t.binarize(t.input(2, 16, 6, 6))
    return t.add(t.conv(x, 8, pads=(1, 1, 1, 1)), t.conv(x, 8, kernel=(1, 1)))


def dense_head(t: Twin) -> Value:
    """Convolution, flatten, two dense layers."""
    x = t.binarize(t.conv(t.binarize(t.input(3, 4, 5, 5)), 6, strides=(2, 2)))
    return t.gemm(t.binarize(t.rprelu(t.gemm(t.flatten(x), 20))), 10)


def separable_chain(t: Twin) -> Value:
    """Depthwise, pointwise, groups of four, pointwise: nothing but thresholds between them."""
    x = t.binarize(t.input(2, 48, 6, 9))
    x = t.binarize(t.conv(x, 48, pads=(1, 1, 1, 1), group=48))
    x = t.binarize(t.conv(x, 80, kernel=(1, 1)))
    x = t.binarize(t.conv(x, 80, kernel=(5, 5), pads=(2, 2, 2, 2), strides=(1, 2), group=20))
    return t.conv(x, 12, kernel=(1, 1))


CASES: dict[str, Callable[[Twin], Value]] = {
    "exact/binarize_image": lambda t: t.binarize(t.input(2, 5, 4, 3)),
    "exact/binarize_vector": lambda t: t.binarize(t.input(4, 13)),
    "exact/conv_1x1": conv_case((2, 8, 5, 6), 8, kernel=(1, 1)),
    "exact/conv_1x1_stride_2": conv_case((1, 24, 7, 6), 10, kernel=(1, 1), strides=(2, 2)),
    "exact/conv_1x3": conv_case((2, 7, 4, 9), 5, kernel=(1, 3), pads=(0, 1, 0, 1)),
    "exact/conv_2x2_even": conv_case((1, 12, 6, 6), 4, kernel=(2, 2), pads=(1, 0, 0, 1), pad_value=1),
    "exact/conv_3x3_pad_minus": conv_case((2, 16, 6, 5), 9, pads=(1, 1, 1, 1), pad_value=-1),
    "exact/conv_3x3_pad_plus": conv_case((2, 16, 6, 5), 9, pads=(1, 1, 1, 1), pad_value=1),
    "exact/conv_3x3_pad_zero": conv_case((2, 16, 6, 5), 9, pads=(1, 1, 1, 1), pad_value=0),
    "exact/conv_3x3_one_channel": conv_case((3, 1, 5, 5), 3, pads=(1, 1, 1, 1)),
    "exact/conv_3x3_65_channels": conv_case((1, 65, 4, 4), 66, pads=(1, 1, 1, 1)),
    "exact/conv_3x3_asymmetric": conv_case((1, 20, 5, 6), 24, pads=(1, 0, 2, 1), strides=(2, 1), pad_value=1),
    "exact/conv_3x3_dilated": conv_case((2, 10, 9, 8), 11, pads=(2, 2, 2, 2), dilations=(2, 2), pad_value=-1),
    "exact/conv_3x3_dilated_strided": conv_case((1, 9, 11, 9), 4, pads=(3, 2, 3, 2), dilations=(3, 2), strides=(2, 3)),
    "exact/conv_3x3_groups": conv_case((2, 20, 5, 5), 8, pads=(1, 1, 1, 1), group=4),
    "exact/conv_3x3_depthwise": conv_case((2, 9, 6, 6), 9, pads=(1, 1, 1, 1), group=9),
    "exact/conv_3x3_depth_multiplier": conv_case((1, 5, 6, 6), 10, pads=(1, 1, 1, 1), group=5, pad_value=-1),
    "exact/conv_5x5": conv_case((1, 33, 7, 7), 6, kernel=(5, 5), pads=(2, 2, 2, 2)),
    "exact/conv_7x7_stride_2": conv_case((1, 3, 13, 12), 10, kernel=(7, 7), pads=(3, 3, 3, 3), strides=(2, 2)),
    "exact/gemm_1": gemm_case(2, 1, 3),
    "exact/gemm_7": gemm_case(1, 7, 5),
    "exact/gemm_64": gemm_case(3, 64, 10),
    "exact/gemm_257": gemm_case(5, 257, 33),
    "exact/chain_threshold": threshold_chain,
    "exact/chain_rprelu": rprelu_chain,
    "exact/chain_residual": residual_block,
    "exact/chain_pooled_signs": pooled_signs,
    "exact/chain_pooled_sums": pooled_sums,
    "exact/chain_concatenated": concatenated_signs,
    "exact/chain_shared_signs": shared_signs,
    "exact/chain_dense": dense_head,
    "float/weight_conv": lambda t: t.conv(t.input(2, 7, 6, 6), 9, pads=(1, 0, 1, 2), strides=(2, 1), real=True),
    "float/weight_conv_groups": lambda t: t.conv(t.input(1, 12, 5, 5), 8, group=4, dilations=(2, 1), real=True),
    "float/weight_gemm": lambda t: t.gemm(t.input(3, 19), 6, real=True),
    "exact/conv_3x3_groups_of_four": conv_case((2, 20, 5, 11), 20, pads=(1, 1, 1, 1), group=5, strides=(2, 1)),
    "exact/conv_5x5_depthwise": conv_case((1, 130, 6, 7), 130, kernel=(5, 5), pads=(2, 2, 2, 2), group=130),
    "exact/chain_separable": separable_chain,
    "exact/conv_3x3_groups_of_twelve": conv_case((1, 132, 5, 6), 132, pads=(1, 1, 1, 1), group=11),
    "float/weight_gemm_large": lambda t: t.gemm(t.input(2, 521), 1024, real=True),
}
"""Name -> what builds it. A case's seed is its place in the list: append, and the others keep their values."""


def files() -> Iterator[tuple[str, bytes]]:
    """Yield the path below :data:`FOLDER` and the bytes of every file of the suite."""
    for seed, (name, build) in enumerate(CASES.items()):
        twin = Twin(seed)
        twin.output(build(twin))
        model = twin.model()
        onnx.checker.check_model(model, full_check=True)
        yield f"{name}/model.onnx", model.SerializeToString(deterministic=True)
        for kind, values in (("input", twin.inputs), ("output", twin.outputs)):
            for index, value in enumerate(values):
                tensor = numpy_helper.from_array(value.array, value.name)
                yield f"{name}/test_data_set_0/{kind}_{index}.pb", tensor.SerializeToString(deterministic=True)


if __name__ == "__main__":
    shutil.rmtree(FOLDER, ignore_errors=True)
    for path, data in files():
        (FOLDER / path).parent.mkdir(parents=True, exist_ok=True)
        (FOLDER / path).write_bytes(data)
