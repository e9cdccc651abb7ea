"""Every number that a kernel indexes by is compared with the shapes of what it reads, when buffers are bound."""

import os
import subprocess
import sys
from typing import Any

import numpy as np
import onnx
import pytest

from latentbit.runtime.errors import InputError, LatentbitError, ModelError
from latentbit.runtime.session import InferenceSession

from ...support import guarded
from ...support.graphs import GraphMaker

TOO_FAR = f"""
import numpy as np, sys
from {guarded.__name__} import guarded_copy
x = guarded_copy(np.ones(5, np.float32))
print("ready", flush=True)
np.lib.stride_tricks.as_strided(x, (5000,)).sum()
"""


def conv(channels: int, *, group: int = 1, **geometry: Any) -> bytes:
    """Return a layer for inputs whose channels the file does not state."""
    maker = GraphMaker()
    scalar = maker.node("Binarize", ["x", maker.constant(np.zeros(1, np.float32))], "ai.latentbit")
    out = maker.conv(scalar, maker.signs(8, channels // group, 1, 1), group=group, **geometry)
    return maker.model({"x": ["N", "C", "H", "W"]}, [out]).SerializeToString()


def dense(channels: int) -> bytes:
    maker = GraphMaker()
    scalar = maker.node("Binarize", ["x", maker.constant(np.zeros(1, np.float32))], "ai.latentbit")
    return maker.model({"x": ["N", "K"]}, [maker.dense(scalar, maker.signs(4, channels))]).SerializeToString()


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (conv(64), (1, 3, 4, 4)),
        (conv(64), (1, 100, 4, 4)),
        (conv(64, group=8), (1, 8, 4, 4)),
        (dense(1000), (1, 5)),
        (dense(3), (1, 5)),
    ],
)
def test_other_channels_than_the_weight_has(model: bytes, shape: tuple[int, ...]) -> None:
    session = InferenceSession(model)
    with pytest.raises(InputError, match=rf"reads x as float32 of rank {len(shape)} with"):
        session.run(None, {"x": np.ones(shape, np.float32)})


def test_a_file_that_states_other_channels_is_refused_when_it_is_loaded() -> None:
    model = onnx.load_from_string(conv(64))
    del model.graph.value_info[:]
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 3
    with pytest.raises(ModelError, match=r"has 3 channels, weight_shape .* needs 64"):
        InferenceSession(model.SerializeToString())


def test_layers_that_do_not_fit_one_another() -> None:
    """The bits of one layer would be the input of the next."""
    maker = GraphMaker()
    between = maker.conv(maker.binarize("x", 8), maker.signs(16, 8, 1, 1))
    scalar = maker.node("Binarize", [between, maker.constant(np.zeros(1, np.float32))], "ai.latentbit")
    out = maker.conv(scalar, maker.signs(8, 64, 1, 1))
    with pytest.raises(LatentbitError):
        InferenceSession(maker.build({"x": ["N", 8, "H", "W"]}, {out: None}).SerializeToString())


def test_a_threshold_that_adds_channels_is_left_to_onnxruntime() -> None:
    """One channel against 8 thresholds gives 8 channels of signs: the layer reads the signs, not the one channel."""
    maker = GraphMaker()
    out = maker.conv(maker.binarize("x", 8), maker.signs(4, 8, 1, 1), unit=True)
    model = maker.model({"x": ["N", 1, "H", "W"]}, [out])
    x = maker.floats(2, 1, 5, 5)
    weight, limits = model.graph.initializer[1], model.graph.initializer[0]
    assert len(weight.dims) == 4
    signs = np.where(x >= onnx.numpy_helper.to_array(limits)[None], 1, -1)
    bits = np.unpackbits(onnx.numpy_helper.to_array(weight)[:, 0, 0], axis=1, bitorder="little", count=8)
    expected = np.einsum("nchw,oc->nohw", signs, 2 * bits.astype(np.int64) - 1)
    assert np.array_equal(InferenceSession(model.SerializeToString()).run(None, {"x": x})[0], expected)


def test_another_kernel_shape_than_the_weight_has() -> None:
    """A float shortcut reads its kernel size from the weight, which its attribute may contradict."""
    maker = GraphMaker()
    first = maker.conv(maker.binarize("x", 16), maker.signs(16, 16, 1, 1))
    shortcut = maker.node("Conv", [first, maker.constant(maker.floats(16, 16, 3, 3))], kernel_shape=[1, 1])
    second = maker.conv(maker.binarize(first, 16), maker.signs(16, 16, 1, 1))
    out = maker.node("Add", [second, shortcut])
    model = maker.build({"x": [1, 16, 4, 4]}, {out: None}).SerializeToString()
    with pytest.raises(LatentbitError):
        InferenceSession(model).run(None, {"x": maker.floats(1, 16, 4, 4)})


@pytest.mark.parametrize("side", [12_000, 40_000, 65_535])
def test_offsets_that_do_not_fit_are_refused_before_the_image_is_made(side: int) -> None:
    session = InferenceSession(conv(256, pads=(side,) * 4, strides=(side, side)))
    with pytest.raises(InputError, match=r"passes 2 GiB|memory_bytes"):
        session.run(None, {"x": np.ones((1, 256, 4, 4), np.float32)})


def test_the_limit_of_memory_is_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    feeds = {"x": np.ones((1, 64, 64, 64), np.float32)}
    session = InferenceSession(conv(64))
    monkeypatch.setenv("LATENTBIT_LIMITS", "memory_bytes=100000")
    with pytest.raises(InputError, match="memory_bytes"):
        session.run(None, feeds)
    monkeypatch.setenv("LATENTBIT_LIMITS", "memory_bytes=10000000")
    assert session.run(None, feeds)[0].shape == (1, 8, 64, 64)


def test_a_guard_page_kills_what_reads_behind_an_array() -> None:
    """Or else the tests that rely on it could not fail."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", TOO_FAR], capture_output=True, text=True, timeout=60, env=environment, check=False
    )
    assert done.stdout == "ready\n"
    assert done.returncode < 0
