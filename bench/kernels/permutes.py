"""Counting by byte permutes (AVX-512 VBMI) beside the counting of csa: products a cycle, or a nanosecond.

    python -m bench.kernels.permutes [--runs 40] [--out bench/results]

Both count the 3×3 layers of a ResNet-18, without an epilogue, by turns in one process, in CPU time of the thread. The
counts of the permutes are compared with plain integers before any time is taken. The kernel is :mod:`.permute_ir`.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from latentbit.runtime.layout.memory import aligned
from latentbit.runtime.session.session import InferenceSession

from ..harness.report import RESULTS, write_report
from .convolutions import binary_model
from .permute_words import Word

SHAPES = [  # inputs, outputs, image, stride
    (64, 64, 56, 1),
    (128, 128, 28, 1),
    (256, 256, 14, 1),
    (512, 512, 7, 1),
    (64, 128, 56, 2),
    (128, 256, 28, 2),
    (256, 512, 14, 2),
]
_LANES, _BITS = 64, 6


def code_table() -> NDArray[np.uint8]:
    """Return the popcounts of code xor code, ``[64, 64]``, 16 times the same, and 32 words 4096."""
    table = aligned(2 * 64 * 64 + 64)
    codes = np.arange(64, dtype=np.uint8)
    one = np.unpackbits((codes[:, None] ^ codes)[:, :, None], axis=2).sum(axis=2)
    table[:4096], table[4096:8192] = one.reshape(-1), 16 * one.reshape(-1)
    table[8192:].view(np.uint16)[:] = 4096
    return table


def pack_codes(weight: NDArray[np.int8]) -> NDArray[np.uint8]:
    """Return weights ±1 ``[O, C, 3, 3]`` as codes ``[blocks, bytes]``: by chunks of four codes, taps, codes, lanes."""
    outputs, inputs = weight.shape[:2]
    blocks, codes = -(-outputs // _LANES), -(-inputs // _BITS)
    codes += codes % 4 == 1  # a chunk of one code is counted as two
    bits = np.zeros((blocks * _LANES, 3, 3, codes * _BITS), np.uint8)
    bits[:outputs, ..., :inputs] = weight.transpose(0, 2, 3, 1) > 0
    values = bits.reshape(blocks, _LANES, 9, codes, _BITS) @ (1 << np.arange(_BITS, dtype=np.uint8))
    values = values[:, np.arange(_LANES).reshape(2, 32).T.reshape(-1)]  # even bytes are channels 0 … 31
    chunks = [values[..., at : at + 4].transpose(0, 2, 3, 1).reshape(blocks, -1) for at in range(0, codes, 4)]
    packed = np.concatenate(chunks, axis=1)
    result = aligned(packed.size).reshape(packed.shape)
    result[:] = packed
    return result


def half_order(height: int, width: int, pairs: int) -> tuple[NDArray[np.int64], int, int, int]:
    """Return the pixels ``[tiles, pairs, 2]``, how far down and right a partner lies, and the tiles of a strip.

    Halves are side by side where half of the width fills tiles, else one over the other; odd ones share a row.
    """
    beside = width % (2 * pairs) == 0
    down, right = (0, width // 2) if beside else (height // 2, 0)
    tall, wide = height - down, width - right
    x, y = np.arange(wide).reshape(-1, 1, pairs), np.arange(tall)[:, None]
    pixel = y * width + x
    return np.stack([pixel, pixel + down * width + right], axis=-1).reshape(-1, pairs, 2), down, right, tall


def permutes(inputs: int, outputs: int, size: int, stride: int) -> tuple[Callable[[], None], Callable[[], None]]:
    """Return what counts a layer by permutes, and what raises AssertionError where a count is wrong."""
    from .permute_ir import PAIRS, count_permutes

    rng = np.random.default_rng(0)
    weight = rng.choice(np.array([-1, 1], np.int8), (outputs, inputs, 3, 3))
    signs = rng.choice(np.array([-1, 1], np.int8), (size + 2, size + 2, inputs))
    image = aligned(signs.size // 8 + 64)
    image[: signs.size // 8] = np.packbits(signs > 0, axis=-1, bitorder="little").reshape(-1)
    side = size // stride if stride == 2 else size
    order, down, right, strip = half_order(side, side, PAIRS)
    first = order[:, 0, 0]
    pixel_bytes, row_bytes = inputs // 8, (size + 2) * inputs // 8
    corners = (first // side * stride * row_bytes + first % side * stride * pixel_bytes).astype(np.int64)
    codes, table, blocks = pack_codes(weight), code_table(), -(-outputs // _LANES)
    out = aligned(len(order) * blocks * PAIRS * 2 * _LANES, np.uint16).reshape(len(order), blocks, PAIRS, 2, _LANES)
    words = np.zeros(Word.SIZE, np.int64)
    for which, value in {
        Word.IMAGE: image.ctypes.data,
        Word.ROW: row_bytes,
        Word.PIXEL: pixel_bytes,
        Word.CHANNELS: inputs,
        Word.STEP: stride,
        Word.PARTNER: stride * (down * row_bytes + right * pixel_bytes),
        Word.CORNERS: corners.ctypes.data,
        Word.STRIP: strip,
        Word.BLOCKS: blocks,
        Word.WEIGHTS: codes.ctypes.data,
        Word.WEIGHT_BYTES: codes[0].nbytes,
        Word.TABLE: table.ctypes.data,
        Word.OUT: out.ctypes.data,
    }.items():
        words[which] = value
    kept = image, corners, codes, table, out, words
    call, work = count_permutes.ctypes, len(order) * blocks

    def count() -> None:
        call(kept[-1].ctypes.data, 0, 0, work)

    def check() -> None:
        count()
        found = np.zeros((side * side, blocks * _LANES), np.int64)
        found[order.reshape(-1)] = out.transpose(0, 2, 3, 1, 4).reshape(-1, blocks * _LANES)
        windows = np.lib.stride_tricks.sliding_window_view(signs.astype(np.float32), (3, 3), (0, 1))
        windows = windows[::stride, ::stride].reshape(side * side, -1)  # exact in float32: sums below 2^24
        sums = windows @ weight.reshape(outputs, -1).astype(np.float32).T
        assert np.array_equal(9 * inputs - 2 * found[:, :outputs], sums.astype(np.int64)), "counts differ"

    return count, check


def csa(inputs: int, outputs: int, size: int, stride: int) -> Callable[[], float]:
    """Return what counts the same layer by csa and tells the microseconds."""
    model = onnx.load_from_string(binary_model(inputs, size, 3, "float", 1, outputs))
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.name == "strides":
                attribute.ints[:] = [stride, stride]
    del model.graph.value_info[:]
    model.graph.output[0].type.tensor_type.ClearField("shape")
    session = InferenceSession(onnx.shape_inference.infer_shapes(model).SerializeToString(), kernel="csa")
    feeds = {"input": np.random.default_rng(1).standard_normal((1, inputs, size, size)).astype(np.float32)}
    session.run(None, feeds)

    def count() -> float:
        steps = session.profile(feeds, counting_only=True, clock=time.thread_time_ns)
        return float(next(step.duration for step in steps if step.name == "conv"))

    return count


def measure(shape: tuple[int, int, int, int], runs: int) -> dict[str, list[float]]:
    """Return microseconds of the counting alone."""
    ours, check = permutes(*shape)
    theirs = csa(*shape)
    check()
    times: dict[str, list[float]] = {"csa": [], "permutes": []}
    for turn in range(-3, runs):
        theirs()
        taken = {"csa": theirs()}
        ours()
        start = time.thread_time_ns()
        ours()
        taken["permutes"] = (time.thread_time_ns() - start) / 1e3
        for name, value in taken.items():
            if turn >= 0:
                times[name].append(value)
    return times


def main() -> None:
    """Measure all shapes, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=40)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    if "avx512_vbmi" not in Path("/proc/cpuinfo").read_text(encoding="utf-8"):
        parser.exit(1, "this CPU has no byte permutes of AVX-512 (VBMI)\n")
    rows = {}
    for shape in SHAPES:
        inputs, outputs, size, stride = shape
        name = f"3×3 {inputs}@{size}²" if stride == 1 else f"3×3 {inputs} > {outputs}@{size}², stride 2"
        rows[name] = measure(shape, options.runs)
    write_report(options.out / "permutes", "Counting alone, one thread, microseconds", rows, "permutes", digits=1)


if __name__ == "__main__":
    main()
