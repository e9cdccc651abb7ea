"""Rows of dense layers: a kernel takes all of them as the pixels of one image, and each answers as it would alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from latentbit.runtime.session import InferenceSession

from ...support.graphs import USABLE, GraphMaker


@given(
    st.integers(0, 2**31),
    st.sampled_from([1, 2, 7, 64, 131]),
    st.tuples(*[st.sampled_from([1, 8, 24, 70, 130])] * 3),
    st.sampled_from(USABLE),
    st.booleans(),
)
@settings(max_examples=30, deadline=None)
def test_rows_have_the_bits_of_the_file(
    seed: int, rows: int, sizes: tuple[int, int, int], kernel: str, residual: bool
) -> None:
    """Two layers, of which the second reads the first's output as floats or as bits, and adds what both began with."""
    maker = GraphMaker(seed)
    first, middle, last = sizes
    hidden = maker.rprelu(maker.dense(maker.binarize("input", first, 2), maker.signs(middle, first)), middle, 2)
    value = maker.dense(maker.binarize(hidden, middle, 2), maker.signs(last, middle))
    if residual:
        beside = maker.dense(maker.binarize("input", first, 2), maker.signs(last, first))
        value = maker.node("Add", [value, beside])
    model = maker.model({"input": ["N", first]}, [value])
    x = maker.floats(rows, first)
    (expected,) = ReferenceEvaluator(model).run(None, {"input": x})
    for threads in (1, 2):
        session = InferenceSession(
            model.SerializeToString(), num_threads=threads, kernel=kernel, share="always" if threads > 1 else "auto"
        )
        for _ in range(2):
            np.testing.assert_array_equal(session.run(None, {"input": x})[0], expected)
    traces = session.trace({"input": x})
    assert {trace.signs.shape[0] for trace in traces} == {trace.accumulators.shape[0] for trace in traces} == {rows}
    signs = np.where(x >= thresholds(maker), 1, -1)
    np.testing.assert_array_equal(traces[0].signs, signs)


def thresholds(maker: GraphMaker) -> NDArray[np.float32]:
    """Return the thresholds of the first Binarize."""
    name = next(node.input[1] for node in maker.nodes if node.op_type == "Binarize")
    return numpy_helper.to_array(next(constant for constant in maker.constants if constant.name == name))


@pytest.mark.parametrize("batch", [1, 3])
def test_rows_and_images_on_one_level_do_not_meet(batch: int) -> None:
    """A dense layer over what a float pool leaves of an image runs beside a convolution over that image."""
    maker = GraphMaker(5)
    image = maker.conv(maker.binarize("input", 8), maker.signs(16, 8, 3, 3))
    pooled = maker.node("Flatten", [maker.node("GlobalMaxPool", ["input"])])
    row = maker.dense(maker.binarize(pooled, 8, 2), maker.signs(16, 8))
    row = maker.dense(maker.binarize(row, 16, 2), maker.signs(12, 16))
    relu = maker.node("Sin", ["input"])
    beside = maker.conv(maker.binarize(relu, 8), maker.signs(16, 8, 3, 3))
    total = maker.conv(maker.binarize(maker.node("Add", [image, beside]), 16), maker.signs(4, 16, 1, 1))
    model = maker.model({"input": ["N", 8, 6, 5]}, [total, row])
    session = InferenceSession(model.SerializeToString())
    x = maker.floats(batch, 8, 6, 5)
    found = session.run(None, {"input": x})
    for one, wanted in zip(found, ReferenceEvaluator(model).run(None, {"input": x}), strict=True):
        np.testing.assert_array_equal(one, wanted)
    used = session.memory({"input": [batch, 8, 6, 5]})
    assert used.kernels > 0


def test_the_integers_of_a_self_test_do_not_depend_on_the_rows() -> None:
    maker = GraphMaker(2)
    value = maker.dense(maker.binarize("input", 40, 2), maker.signs(24, 40))
    session = InferenceSession(maker.model({"input": ["N", 40]}, [value]).SerializeToString())
    found = [session.self_test_record({"input": [rows, 40]}).layers for rows in (1, 6)]
    (one,), (six,) = (list(layers.values()) for layers in found)
    assert (one.integers, one.sums) == (six.integers, six.sums)
