"""Opening a file: nothing is unpacked for it, and a second session on it takes what the first has made."""

import gc
import os
import subprocess
import sys
import threading
from pathlib import Path
from weakref import ref

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from latentbit.runtime import InferenceSession
from latentbit.runtime.bits import clear_tail, count_ones, pack_conv_weight, pack_signs
from latentbit.runtime.errors import ModelError
from latentbit.runtime.intake.model import BinaryLayer
from latentbit.runtime.kernels.registry import find_kernel
from latentbit.runtime.layout.images import BYTES, NIBBLES, SLICES, WORDS, ImageFormat

from ...support.graphs import USABLE, GraphMaker, chain

GROWTH = """
import sys
import numpy as np
from latentbit.runtime import InferenceSession
def resident():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmRSS"))
def grown(path, before):
    session = InferenceSession(path)
    session.run(None, {"input": np.zeros((1, 512, 2, 2), np.float32)})
    return session, resident() - before
small = InferenceSession(sys.argv[2])
small.run(None, {"input": np.zeros((1, 8, 2, 2), np.float32)})
first, once = grown(sys.argv[1], resident())
second, again = grown(sys.argv[1], resident())
del first
_, third = grown(sys.argv[1], resident())
print(once, again, third)
"""


def wide(channels: int) -> bytes:
    """Return three 3×3 layers and a dense layer of floats: 2 MiB of weights with 512 channels."""
    maker, value = GraphMaker(), "input"
    for _ in range(3):
        weight = maker.signs(channels, channels, 3, 3)
        value = maker.conv(maker.binarize(value, channels), weight, pads=(1, 1, 1, 1), unit=True)
    flat = maker.node("Flatten", [maker.node("GlobalAveragePool", [value])])
    maker.node("MatMul", [flat, maker.constant(maker.floats(channels, channels))])
    maker.nodes[-1].output[0] = "y"
    return maker.model({"input": ["N", channels, "H", "W"]}, ["y"]).SerializeToString()


def answer(session: InferenceSession, x: NDArray[np.float32]) -> bytes:
    return np.asarray(session.run(None, {"input": x})[0]).tobytes()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_memory_of_a_second_session_grows_by_less(tmp_path: Path) -> None:
    (tmp_path / "wide.onnx").write_bytes(wide(512))
    (tmp_path / "small.onnx").write_bytes(wide(8))
    command = [sys.executable, "-c", GROWTH, str(tmp_path / "wide.onnx"), str(tmp_path / "small.onnx")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=True)
    first, second, third = map(int, done.stdout.split())
    assert first > os.path.getsize(tmp_path / "wide.onnx")
    # Once the heap may keep what the bytes of the file have taken while they were read.
    assert second < first / 2, (first, second, third)
    assert third < first / 8, (first, second, third)


def one_layer() -> bytes:
    """Return a single 3×3 layer of 4.5 MiB, which is all of its file."""
    maker = GraphMaker()
    maker.conv(maker.binarize("input", 2048), maker.signs(2048, 2048, 3, 3), pads=(1, 1, 1, 1), unit=True)
    maker.nodes[-1].output[0] = "y"
    return maker.model({"input": ["N", 2048, "H", "W"]}, ["y"]).SerializeToString()


OPENING = """
import sys
from latentbit.runtime import InferenceSession
def told(key):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith(key))
InferenceSession(sys.argv[2], kernel=sys.argv[3])
before = told("VmRSS")
session = InferenceSession(sys.argv[1], kernel=sys.argv[3])
print(told("VmHWM") - before, session.memory({"input": [1, 2048, 1, 1]}).file)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("kernel", [name for name in USABLE if not find_kernel(name).format.sliced])
def test_a_layer_that_is_all_of_its_file_is_opened_in_what_was_told(kernel: str, tmp_path: Path) -> None:
    (tmp_path / "layer.onnx").write_bytes(one_layer())
    (tmp_path / "small.onnx").write_bytes(wide(8))
    command = [sys.executable, "-c", OPENING, str(tmp_path / "layer.onnx"), str(tmp_path / "small.onnx"), kernel]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=True)
    grown, told = map(int, done.stdout.split())
    assert os.path.getsize(tmp_path / "layer.onnx") < grown < told, (grown, told)


def test_what_sessions_share_goes_with_the_last_of_them() -> None:
    data, x = wide(16), GraphMaker(3).floats(1, 16, 4, 4)
    first = InferenceSession(data)
    expected, shared = answer(first, x), [ref(first._opened), ref(first._floats), ref(first._opened.plan.model)]
    second = InferenceSession(data)
    assert second._opened is shared[0]()
    assert second._floats is shared[1]()
    del first
    gc.collect()
    assert answer(second, x) == expected
    del second
    gc.collect()
    assert [one() for one in shared] == [None] * 3


@pytest.mark.parametrize("kernel", USABLE)
def test_sessions_share_no_more_than_they_agree_on(kernel: str) -> None:
    data, x = chain(channels=16).SerializeToString(), GraphMaker(3).floats(1, 16, 8, 8)
    first, asked = InferenceSession(data), InferenceSession(data, kernel=kernel)
    assert (asked._opened is first._opened) == (asked.get_steps() == first.get_steps())
    assert asked._opened.plan.model is first._opened.plan.model
    threaded = InferenceSession(data, num_threads=2)
    assert threaded._opened is first._opened
    assert threaded._floats is not first._floats
    assert answer(first, x) == answer(asked, x) == answer(threaded, x)


def test_a_limit_is_looked_at_though_the_file_is_open(monkeypatch: pytest.MonkeyPatch) -> None:
    data = chain().SerializeToString()
    held = InferenceSession(data)
    monkeypatch.setenv("LATENTBIT_LIMITS", "nodes=2")
    with pytest.raises(ModelError, match="limit nodes is 2"):
        InferenceSession(data)
    monkeypatch.delenv("LATENTBIT_LIMITS")
    assert InferenceSession(data)._opened is held._opened


def test_a_file_that_changes_is_another_one(tmp_path: Path) -> None:
    model, x = chain(), GraphMaker(3).floats(1, 12, 8, 8)
    path = tmp_path / "model.onnx"
    onnx.save(model, path)
    first = InferenceSession(path)
    before = answer(first, x)
    onnx.save(chain(seed=5), path)
    assert answer(InferenceSession(path), x) == answer(InferenceSession(path.read_bytes()), x) != before
    assert answer(first, x) == before


def test_threads_open_one_file_at_once() -> None:
    data, x = wide(24), GraphMaker(3).floats(1, 24, 4, 4)
    expected = answer(InferenceSession(data), x)
    found: list[bytes] = []
    begin = threading.Barrier(6)

    def work() -> None:
        begin.wait()
        for _ in range(5):
            found.append(answer(InferenceSession(data), x))

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 30


@pytest.mark.parametrize("kernel", [name for name in USABLE if not find_kernel(name).format.sliced])
@pytest.mark.parametrize("pad_value", [-1, 0, 1])
def test_opening_unpacks_no_weight(kernel: str, pad_value: int, monkeypatch: pytest.MonkeyPatch) -> None:
    data = chain(channels=36, pad_value=pad_value).SerializeToString()
    unpacked: list[str] = []
    monkeypatch.setattr(BinaryLayer, "weight", property(lambda layer: unpacked.append(layer.name)))
    session = InferenceSession(data, kernel=kernel)
    session.run(None, {"input": GraphMaker().floats(1, 36, 8, 8)})
    assert not unpacked


@pytest.mark.parametrize("form", [BYTES, NIBBLES, WORDS, SLICES])
@pytest.mark.parametrize("channels", [1, 3, 4, 5, 8, 9, 12, 15, 16, 64, 65])
def test_packed_bits_say_what_weights_say(form: ImageFormat, channels: int) -> None:
    weight = GraphMaker(channels).signs(3, channels, 2, 3)
    packed = pack_conv_weight(weight)
    np.testing.assert_array_equal(
        form.widen(packed, channels), form.encode(np.ascontiguousarray(weight.transpose(0, 2, 3, 1)))
    )
    numbers = np.zeros(3, np.float32)
    exact = channels // 4 * 4 if form is NIBBLES else 0
    for pads, pad_value in (((1, 0, 0, 0), 0), ((1, 0, 0, 0), 1), ((0, 0, 0, 0), 0)):
        layer = BinaryLayer(
            *("c", "BinaryConv2d", "x", "y", (3, channels, 2, 3), packed, numbers, numbers),
            pads=pads,
            pad_value=pad_value,
        )
        expected = weight[:, exact:].sum(axis=1) if any(pads) and not pad_value else np.zeros((3, 2, 3))
        np.testing.assert_array_equal(form.pad_error(layer), expected)


@pytest.mark.parametrize("length", range(1, 18))
def test_tails_and_ones(length: int) -> None:
    rng = np.random.default_rng(length)
    signs = rng.choice(np.array([-1, 1], np.int8), (5, length))
    clean = pack_signs(signs)
    assert clear_tail(clean, length) is clean
    np.testing.assert_array_equal(count_ones(clean), (signs > 0).sum(axis=1))
    dirty = clean.copy()
    dirty[:, -1] |= np.uint8(0xFF << length % 8 & 0xFF if length % 8 else 0)
    np.testing.assert_array_equal(clear_tail(dirty, length), clean)


@pytest.mark.parametrize("kernel", USABLE)
def test_bits_behind_the_last_channel_change_no_answer(kernel: str) -> None:
    model, x = chain(channels=12), GraphMaker(3).floats(1, 12, 8, 8)
    expected = answer(InferenceSession(model.SerializeToString(), kernel=kernel), x)
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    altered = 0
    for node in model.graph.node:
        sizes = next((list(entry.ints) for entry in node.attribute if entry.name == "weight_shape"), [8, 8])
        if tail := sizes[1] % 8:
            tensor = stored[node.input[1]]
            values = np.frombuffer(tensor.raw_data, np.uint8).reshape(tensor.dims).copy()
            values[..., -1] |= np.uint8(0xFF << tail & 0xFF)
            tensor.raw_data = values.tobytes()
            altered += 1
    assert altered
    assert answer(InferenceSession(model.SerializeToString(), kernel=kernel), x) == expected


@pytest.mark.parametrize("op", ["Relu", "Tanh"])
def test_onnxruntime_is_imported_by_a_session_that_has_work_for_it(op: str, tmp_path: Path) -> None:
    maker, path = GraphMaker(1), tmp_path / "model.onnx"
    value = maker.node(op, [maker.dense(maker.binarize("input", 8, 2), maker.signs(24, 8))])
    path.write_bytes(maker.model({"input": ["N", 8]}, [value]).SerializeToString())
    lines = (
        "import sys, numpy as np",
        "from latentbit.runtime import InferenceSession",
        f"session = InferenceSession({str(path)!r})",
        "session.run(None, {'input': np.ones((2, 8), np.float32)})",
        "print('onnxruntime' in sys.modules)",
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, env=environment, check=False
    )
    assert done.stdout.strip() == str(op == "Tanh"), done.stderr
