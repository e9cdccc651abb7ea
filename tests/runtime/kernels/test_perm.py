"""The kernel of byte permutes: its order of pixels and weights, its integers, and when it is chosen."""

import ctypes

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from latentbit.runtime.intake.reading import load
from latentbit.runtime.kernels.registry import find_kernel
from latentbit.runtime.layout.codes import code_table, code_weights
from latentbit.runtime.layout.tables import half_fill, half_order
from latentbit.runtime.layout.words import ConvWord
from latentbit.runtime.machine import cpu
from latentbit.runtime.machine.library import cpu_classes, usable_features
from latentbit.runtime.session import InferenceSession
from latentbit.runtime.steps import choice, trial

from ...support.convolutions import Case
from ...support.graphs import USABLE, GraphMaker

here = pytest.mark.skipif("perm" not in USABLE, reason="this CPU has no byte permutes of AVX-512")


@given(height=st.integers(1, 40), width=st.integers(1, 40), pairs=st.integers(1, 9))
@example(7, 7, 7)
@example(1, 1, 7)
def test_every_pixel_has_one_place_and_all_pairs_of_a_tile_are_as_far_apart(
    height: int, width: int, pairs: int
) -> None:
    tiles = half_order(pairs)(height, width).reshape(-1, pairs, 2)
    assert sorted(tiles[tiles >= 0]) == list(range(height * width))
    assert half_fill(height, width, pairs) == height * width / tiles.size
    for tile in tiles:
        here, there = tile.T
        assert here[0] >= 0, "a tile begins with a pixel, which empty places repeat"
        live = here >= 0
        assert (here[live] == here[0] + np.arange(pairs)[live]).all()
        assert here[live][-1] // width == here[0] // width, "a row"
        assert len({*(there - here)[there >= 0]}) <= 1
        assert (there < 0).all() or there[0] >= 0, "the kernel takes the distance from the first pair"


@given(outputs=st.integers(1, 130), inputs=st.integers(1, 60), seed=st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_weights_are_codes_in_the_order_of_counting(outputs: int, inputs: int, seed: int) -> None:
    maker = GraphMaker(seed)
    weight = maker.signs(outputs, inputs, 3, 3)
    value = maker.conv(maker.binarize("input", inputs), weight)
    model = load(maker.model({"input": [1, inputs, 3, 3]}, [value]).SerializeToString())
    packed = code_weights(next(iter(model.layers.values())))
    blocks, codes = -(-outputs // 64), -(-inputs // 6)
    assert packed.shape == (blocks, 9 * 64 * codes + 128)
    found = np.zeros((blocks * 64, 3, 3, codes * 6), np.uint8)
    place = 0
    for chunk in range(0, codes, 8):
        for row in range(3):
            for first in range(chunk, min(chunk + 8, codes), 4):
                for tap in range(3):
                    for code in range(first, min(first + 4, codes)):
                        for lane in range(64):
                            channel = np.arange(blocks) * 64 + lane // 2 + 32 * (lane % 2)
                            bits = packed[:, place + lane, None] >> np.arange(6) & 1
                            found[channel, row, tap, 6 * code : 6 * code + 6] = bits
                        place += 64
    assert np.array_equal(found[:outputs, :, :, :inputs].transpose(0, 3, 1, 2), weight > 0)
    assert not found[outputs:].any()
    assert not found[..., inputs:].any()
    odd = found.reshape(blocks, 64, -1, 6).sum(axis=-1) % 2
    assert np.array_equal(packed[:, place:].view(np.uint16), odd.sum(axis=-1))


def test_the_table_and_what_is_odd_count_what_differs() -> None:
    """Two bits an entry: four look-ups fit in a nibble."""
    one, sixteen = code_table().astype(int)
    assert np.array_equal(sixteen, 16 * one)
    assert set(one.reshape(-1)) == {0, 1, 2, 3}
    for pixel in range(64):
        for weight in range(64):
            odd = pixel.bit_count() % 2 - weight.bit_count() % 2
            assert 2 * one[pixel, weight] - odd == (pixel ^ weight).bit_count()


@here
@given(
    case=st.builds(
        Case,
        batch=st.integers(1, 2),
        group=st.just(1),
        inputs=st.sampled_from([1, 5, 6, 7, 24, 25, 64, 100, 259]),
        outputs=st.sampled_from([1, 63, 64, 65, 200]),
        kernel=st.just((3, 3)),
        strides=st.just((1, 1)),
        pads=st.tuples(*(st.integers(1, 2) for _ in range(4))),
        dilations=st.just((1, 1)),
        size=st.tuples(st.integers(1, 17), st.integers(1, 31)),
        pad_value=st.sampled_from([-1, 0, 1]),
    ),
    seed=st.integers(0, 2**31),
)
@settings(max_examples=60, deadline=None)
def test_convolution(case: Case, seed: int) -> None:
    layer = case.layer(seed)
    session = InferenceSession(layer.model.SerializeToString(), kernel="perm")
    assert {step.kernel for step in session.get_steps() if step.kind == "binary"} == {"perm"}
    layer.check(session.run(None, layer.feeds))


@here
@pytest.mark.parametrize("sign", [-1, 1])
def test_no_counter_overflows(sign: int) -> None:
    """All signs differ from all weights, or none does, in the widest window that accumulators hold."""
    channels = 65535 // 9
    maker = GraphMaker()
    value = maker.conv(maker.binarize("input", channels), np.ones((64, channels, 3, 3), np.int8), unit=True)
    data = maker.model({"input": [1, channels, 3, 14]}, [value]).SerializeToString()
    (answer,) = InferenceSession(data, kernel="perm").run(
        None, {"input": np.full((1, channels, 3, 14), 9.0 * sign, np.float32)}
    )
    assert (answer == sign * 9 * channels).all()


@here
@pytest.mark.parametrize("portion", [1, 2, 3, 7, 1000])
def test_work_may_be_divided_anywhere(portion: int) -> None:
    """Threads take portions of tiles × blocks; table rows are kept within one alone."""
    answers = []
    for name in ("ctp", "perm"):
        *before, step = trial._steps(find_kernel(name))
        for first in before:
            for begin in range(0, first.work, portion):
                first.call(first.words.ctypes.data, 0, begin, min(begin + portion, first.work))
        size = trial._SIZE**2 * trial._CHANNELS
        out = np.ctypeslib.as_array((ctypes.c_float * size).from_address(int(step.words[ConvWord.OUT])))
        out[:] = np.nan
        for begin in range(0, step.work, portion):
            step.call(step.words.ctypes.data, 0, begin, min(begin + portion, step.work))
        answers.append(out.copy())
    assert np.array_equal(answers[0], answers[1])


def chosen(channels: int, outputs: int, *size: int | str, strides: tuple[int, int] = (1, 1)) -> tuple[str, str]:
    maker = GraphMaker()
    weight = maker.signs(outputs, channels, 3, 3)
    value = maker.conv(maker.binarize("input", channels), weight, pads=(1, 1, 1, 1), strides=strides)
    session = InferenceSession(maker.model({"input": [1, channels, *size]}, [value]).SerializeToString())
    (step,) = (step for step in session.get_steps() if step.kind == "binary")
    return step.kernel, step.reason


@here
@pytest.mark.parametrize(
    ("kernel", "reason", "layer"),
    [
        ("perm", "csa takes 1.10 times as long on this machine", (128, 128, 14, 14)),
        ("perm", "csa takes 1.10 times as long on this machine", (64, 64, 56, 56)),
        ("perm", "csa takes 1.10 times as long on this machine", (512, 512, 7, 7)),
        ("csa", "not perm: the file does not say how large its input is", (128, 128, "H", "W")),
        ("csa", "not perm: its pixels and channels would fill 57% of the tiles", (128, 128, 8, 8)),
        ("csa", "not perm: its pixels and channels would fill 50% of the tiles", (128, 32, 14, 14)),
        ("csa", "not perm: it has less than 64 input channels", (32, 64, 14, 14)),
    ],
)
def test_it_is_chosen_where_it_is_faster(
    kernel: str, reason: str, layer: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choice, "speed_ratio", lambda first, other: 1.1)
    assert chosen(*layer) == (kernel, reason)
    monkeypatch.setenv("LATENTBIT_PREFER", "perm")
    assert chosen(*layer) == ("perm", "as asked")
    monkeypatch.setenv("LATENTBIT_PREFER", "csa")
    assert chosen(*layer) == ("csa", "as asked")


@here
def test_a_machine_on_which_csa_is_faster_takes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "speed_ratio", lambda first, other: 0.9)
    assert chosen(128, 128, 14, 14) == ("csa", "not perm: csa takes 0.90 times as long on this machine")


@here
def test_strides_are_for_other_kernels() -> None:
    reason = "not perm: it is no 3×3 without stride, dilation and groups"
    assert chosen(128, 128, 28, 28, strides=(2, 2)) == ("csa", reason)


@here
def test_a_cpu_without_the_instructions_takes_csa_and_no_library_that_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    lacking = cpu._numpy_features() | {"AVX512VBMI": False}
    monkeypatch.setattr(cpu, "_numpy_features", lambda: lacking)
    cached = (cpu.cpu_features, cpu_classes)
    for function in cached:
        function.cache_clear()
    try:
        assert "x86-64-v4" not in cpu_classes()
        assert "avx512vbmi" not in usable_features()
        assert chosen(128, 128, 14, 14) == ("csa", "not perm: the CPU has no avx512vbmi")
    finally:
        monkeypatch.undo()
        for function in cached:
            function.cache_clear()
