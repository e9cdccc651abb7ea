"""Floats that end inside a segment take turns in the same memory, and no image of a batch spoils another."""

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

from latentbit.runtime.session import InferenceSession

from ...support.graphs import GraphMaker

CHANNELS = 16


def deep(maker: GraphMaker, blocks: int, size: tuple[int, int] = (6, 5)) -> onnx.ModelProto:
    """Return blocks with a residual, a float activation and a join of channels; each reads floats of the one before."""
    value = maker.conv(maker.binarize("input", CHANNELS), maker.signs(CHANNELS, CHANNELS, 1, 1))
    for _ in range(blocks):
        total = maker.conv(maker.binarize(value, CHANNELS), maker.signs(CHANNELS, CHANNELS, 3, 3), pads=(1, 1, 1, 1))
        total = maker.node("HardSwish", [maker.node("Add", [total, value])])
        both = maker.node("Concat", [total, value], axis=1)
        value = maker.conv(maker.binarize(both, 2 * CHANNELS), maker.signs(CHANNELS, 2 * CHANNELS, 1, 1))
        value = maker.rprelu(value, CHANNELS)
    last = maker.conv(maker.binarize(value, CHANNELS), maker.signs(CHANNELS, CHANNELS, 1, 1))
    return maker.model({"input": ["N", CHANNELS, *size]}, [maker.node("HardSwish", [last]), value])


@pytest.mark.parametrize("threads", [1, 2])
def test_a_batch_gives_what_its_images_give(threads: int) -> None:
    maker = GraphMaker(7)
    model = deep(maker, 5)
    session = InferenceSession(model.SerializeToString(), num_threads=threads)
    x = maker.floats(3, CHANNELS, 6, 5)
    together = session.run(None, {"input": x})
    for found, wanted in zip(together, ReferenceEvaluator(model).run(None, {"input": x}), strict=True):
        np.testing.assert_array_equal(found, wanted)
    for index in range(3):
        for found, wanted in zip(session.run(None, {"input": x[index : index + 1]}), together, strict=True):
            np.testing.assert_array_equal(found[0], wanted[index])


def test_a_deeper_network_takes_no_more_floats() -> None:
    few, many = (InferenceSession(deep(GraphMaker(1), blocks, (96, 80)).SerializeToString()) for blocks in (3, 9))
    shapes = {"input": (1, CHANNELS, 96, 80)}
    one_value = 4 * CHANNELS * 96 * 80
    # Six blocks more have thirty values of this size. What is told grows by tables and packed images.
    assert many.memory(shapes).kernels - few.memory(shapes).kernels < 20 * one_value
