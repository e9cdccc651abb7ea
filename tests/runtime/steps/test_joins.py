"""Values that lie in a wider one: joined where they are made, read where they lie, with the bits of the file."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from latentbit.runtime.bits import DOMAIN
from latentbit.runtime.session import InferenceSession

from ...support.graphs import GraphMaker
from ...support.natives import shuffled

SIZE = 5, 6


def unit(maker: GraphMaker, value: str, channels: int, outputs: int) -> str:
    value = maker.conv(maker.binarize(value, channels), maker.signs(outputs, channels, 1, 1), unit=True)
    return maker.node("PRelu", [value, maker.per_channel(outputs)])


def kernels_timed(model: onnx.ModelProto, x: NDArray[np.float32]) -> list[str]:
    """Return the steps of our kernels, in order."""
    session = InferenceSession(model.SerializeToString())
    session.run(None, {"input": x})
    return [step.name for step in session.profile({"input": x}) if step.kind == "kernel"]


def assert_as_file(model: onnx.ModelProto, x: NDArray[np.float32], threads: int = 1) -> None:
    data = model.SerializeToString()
    session = InferenceSession(data, num_threads=threads, share="always" if threads > 1 else "auto")
    wanted = ort.InferenceSession(data, providers=["CPUExecutionProvider"]).run(None, {"input": x})
    for _ in range(2):
        for mine, theirs in zip(session.run(None, {"input": x}), wanted, strict=True):
            np.testing.assert_array_equal(mine, theirs)


def drawn(draw: st.DataObject, seed: int, batch: int) -> onnx.ModelProto:
    """Return layers, joins, slices, shuffles and pools that read any values that are there already."""
    maker = GraphMaker(seed)
    channels = {"input": 8, unit(maker, "input", 8, 8): 8}

    def pick() -> str:
        return draw.draw(st.sampled_from(list(channels)[1:]))

    for _ in range(draw.draw(st.integers(2, 12))):
        op, source = draw.draw(st.sampled_from(["unit", "join", "slice", "shuffle", "pool", "add", "mean"])), pick()
        width = channels[source]
        if op == "unit":
            outputs = draw.draw(st.sampled_from([1, 4, 8, 16, 20, 32]))
            channels[unit(maker, source, width, outputs)] = outputs
        elif op == "join":
            joined = [source, *(pick() for _ in range(draw.draw(st.integers(1, 3))))]
            if sum(channels[name] for name in joined) <= 200:
                channels[maker.node("Concat", joined, axis=1)] = sum(channels[name] for name in joined)
        elif op == "slice" and width > 1:
            begin = draw.draw(st.integers(0, width - 1))
            end = draw.draw(st.integers(begin + 1, width))
            step = draw.draw(st.sampled_from([1, 1, 2]))
            value = maker.node("Slice", [source, *(maker.constant(np.array([at])) for at in (begin, end, 1, step))])
            channels[value] = len(range(begin, end, step))
        elif op == "shuffle" and width % 2 == 0:
            channels[shuffled(maker, source, width, 2, SIZE)] = width
        elif op == "pool":
            channels[maker.node("MaxPool", [source], kernel_shape=[3, 3], pads=[1, 1, 1, 1])] = width
        elif op == "add":
            others = [name for name in list(channels)[1:] if channels[name] == width]
            channels[maker.node("Add", [source, draw.draw(st.sampled_from(others))])] = width
        elif op == "mean":
            channels[maker.node("Relu", [source])] = width
    values = list(channels)[1:]
    last = [unit(maker, name, channels[name], 8) for name in values[-3:]]
    answers = {*last, *draw.draw(st.lists(st.sampled_from(values), max_size=2))}
    return maker.model({"input": [batch, 8, *SIZE]}, sorted(answers))


@given(st.data(), st.integers(0, 2**31), st.integers(1, 3), st.sampled_from([1, 1, 2]))
@settings(max_examples=60, deadline=None)
def test_graphs_of_joins_and_slices_answer_as_the_file(
    data: st.DataObject, seed: int, batch: int, threads: int
) -> None:
    assert_as_file(drawn(data, seed, batch), GraphMaker(seed).floats(batch, 8, *SIZE), threads)


@pytest.mark.parametrize("batch", [1, 3])
def test_the_growing_joins_of_a_dense_block_cost_no_step(batch: int) -> None:
    maker = GraphMaker(3)
    values = [unit(maker, "input", 8, 16)]
    joined = values[0]
    for _ in range(4):
        values.append(unit(maker, joined, 16 + 8 * (len(values) - 1), 8))
        joined = maker.node("Concat", values, axis=1)
    model = maker.model({"input": ["N", 8, *SIZE]}, [unit(maker, joined, 48, 8)])
    x = maker.floats(batch, 8, *SIZE)
    assert not [name for name in kernels_timed(model, x) if "concat" in name.lower()]
    assert_as_file(model, x)


def test_what_comes_from_elsewhere_is_copied_once_for_all_joins_of_it() -> None:
    maker = GraphMaker(3)
    first = maker.node("Sigmoid", [maker.node("Conv", ["input", maker.constant(maker.floats(16, 8, 1, 1))])])
    values, joined = [first], first
    for _ in range(3):
        values.append(unit(maker, joined, 16 + 8 * (len(values) - 1), 8))
        joined = maker.node("Concat", values, axis=1)
    model = maker.model({"input": ["N", 8, *SIZE]}, [unit(maker, joined, 40, 8)])
    x = maker.floats(2, 8, *SIZE)
    assert len([name for name in kernels_timed(model, x) if "concat" in name.lower()]) == 2  # one of each image
    assert_as_file(model, x)


@pytest.mark.parametrize("halves", [(24, 24), (58, 58)])
def test_a_shuffled_block_moves_channels_once(halves: tuple[int, int]) -> None:
    """The half that passes by and the half that a layer reads lie where the shuffle put them."""
    maker, width = GraphMaker(5), halves[0]
    one, two = (unit(maker, "input", 8, size) for size in halves)
    blocks = 3
    for _ in range(blocks):
        value = shuffled(maker, maker.node("Concat", [one, two], axis=1), 2 * width, 2, SIZE)
        node = onnx.helper.make_node("Split", [value], [f"{value}.a", f"{value}.b"], axis=1, num_outputs=2)
        maker.nodes.append(node)
        one, two = node.output[0], unit(maker, node.output[1], width, width)
    joined = maker.node("Concat", [one, two], axis=1)
    model = maker.model({"input": [1, 8, *SIZE]}, [unit(maker, joined, 2 * width, 8)])
    x = maker.floats(1, 8, *SIZE)
    steps = kernels_timed(model, x)
    moves = [name for name in steps if "reshape" in name.lower() or "concat" in name.lower() or "split" in name.lower()]
    assert len(moves) == blocks + 1
    assert_as_file(model, x)


@pytest.mark.parametrize("pool", [False, True])
@pytest.mark.parametrize("alike", [True, False])
def test_layers_that_pack_a_value_alike_share_the_packing(pool: bool, alike: bool) -> None:
    """The last layer packs it in another segment, when the image holds the last of the batch."""
    maker = GraphMaker(6)
    value, threshold = unit(maker, "input", 8, 24), maker.per_channel(24)
    source = maker.node("MaxPool", [value], kernel_shape=[2, 2]) if pool else value

    def layer(after: str = "") -> str:
        limit = threshold if alike else maker.per_channel(24)
        signs = maker.node("Binarize", [source, limit], DOMAIN)
        if not after:
            return maker.conv(signs, maker.signs(16, 24, 1, 1), unit=True)
        summed = maker.conv(signs, maker.signs(24, 24, 3, 3), pads=(1, 1, 1, 1), unit=True)
        return maker.node("Add", [summed, after])

    first = [layer() for _ in range(3)]
    far = maker.node("Exp", [source])
    model = maker.model({"input": [3, 8, *SIZE]}, [*first, layer(far), layer(far)])
    x = maker.floats(3, 8, *SIZE)
    packs = [name for name in kernels_timed(model, x) if name.endswith(":pack")]
    # Of the input; of the first three, one of which may get bits from the layer before; of the two in a later segment.
    assert len(packs) == 3 * (1 + (1 if alike else 3 - (not pool)) + (1 if alike else 2))
    assert_as_file(model, x)


def test_what_onnxruntime_reads_too_keeps_memory_of_its_own() -> None:
    maker = GraphMaker(4)
    one, two = unit(maker, "input", 8, 8), unit(maker, "input", 8, 16)
    joined = maker.node("Concat", [one, two], axis=1)
    outside = maker.node("Exp", [one])
    model = maker.model({"input": ["N", 8, *SIZE]}, [unit(maker, joined, 24, 8), outside])
    assert_as_file(model, maker.floats(3, 8, *SIZE))


def test_a_residual_in_a_join_is_not_written_over() -> None:
    """The layer that adds it is its last reader by name, and the join that it lies in is read later."""
    maker = GraphMaker(4)
    one, two = unit(maker, "input", 8, 16), unit(maker, "input", 8, 16)
    joined = maker.node("Concat", [one, two], axis=1)
    half = maker.node("Slice", [joined, *(maker.constant(np.array([at])) for at in (0, 16, 1))])
    conv = maker.conv(maker.binarize(two, 16), maker.signs(16, 16, 1, 1), unit=True)
    summed = maker.node("Add", [conv, half])
    model = maker.model({"input": ["N", 8, *SIZE]}, [unit(maker, joined, 32, 8), unit(maker, summed, 16, 8)])
    assert_as_file(model, maker.floats(2, 8, *SIZE))
