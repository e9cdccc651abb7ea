"""Steps of a binary segment bound to buffers: a kernel, its descriptor, and everything the descriptor points to."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..intake.model import BinaryLayer
from ..kernels.entry import entry_address, entry_point
from ..kernels.registry import SHORTCUT_LANES, Kernel, choose
from ..layout.images import PackedImage
from ..layout.memory import aligned
from ..layout.slices import cells, limit_planes, one_bit_an_output, slice_weights, taps
from ..layout.tables import block_table, border_bases, pieces, pixel_table
from ..layout.weights import pack_constants, pack_weights
from ..layout.words import Constant, ConvWord, Flag, PackWord, ShortcutWord
from ..machine.library import usable_features
from ..plan.shortcut import Projection
from ..plan.stem import Stem
from ..plan.thresholds import falling_channels, integer_thresholds, negated
from ..plan.units import Unit

__all__ = ["PreparedUnit", "Step", "conv_steps", "identity_step", "pack_step", "prepare", "project_steps"]


@dataclass(frozen=True)
class PreparedUnit:
    """What a unit needs for any input size: its kernel, packed weights and constants of the epilogue."""

    unit: Unit
    layer: BinaryLayer
    """The unit's layer with the weights of :attr:`falling` channels negated."""
    kernel: Kernel
    reason: str
    falling: NDArray[np.bool_]
    thresholds: NDArray[np.int64] | None
    """Integer thresholds, where the unit gives bits alone."""
    weights: NDArray[np.uint8]
    blocks: NDArray[np.int64]
    constants: NDArray[np.float32]
    pad_error: NDArray[np.int64]


@dataclass
class Step:
    """One call of a kernel; ``units`` is the amount of work on an image, ``keep`` holds the buffers alive."""

    name: str
    call: Callable[[int, int, int, int], None]
    words: NDArray[np.int64]
    units: int
    keep: list[Any] = field(default_factory=list)

    @property
    def address(self) -> int:
        """Address of the kernel."""
        return entry_address(self.call)

    def run(self, image: int) -> None:
        """Do the step on one image."""
        self.call(self.words.ctypes.data, image, 0, self.units)


def prepare(units: Sequence[Unit], stems: Sequence[Stem], wanted: str | None) -> dict[Unit, PreparedUnit]:
    """Choose the kernels and pack the weights; bits pass on only where reader and maker lay them alike."""
    chosen = {unit: choose(unit.layer, wanted) for unit in units}
    makers: list[Stem | Unit] = [*stems, *units]
    for maker in makers:
        reader = maker.bits_for
        if reader is None:
            continue
        alike = _side_by_side(reader.layer, chosen[reader][0], reader.layer.shape[1])
        if isinstance(maker, Unit):
            alike = alike and _writes_for(maker.layer, chosen[maker][0], reader.layer, chosen[reader][0])
        if not alike:
            maker.bits_for, maker.stored = None, True
    return {unit: _prepare(unit, *chosen[unit]) for unit in units}


def _side_by_side(layer: BinaryLayer, kernel: Kernel, channels: int) -> bool:
    """Return whether groups of ``channels`` channels leave no gaps between them."""
    return kernel.format.groups(layer)[0] == 1 or channels % 8 == 0


def _writes_for(layer: BinaryLayer, kernel: Kernel, reader: BinaryLayer, its: Kernel) -> bool:
    """Return whether a layer's epilogue can write bits for a reader: no gaps, and a pixel is whole vectors of them."""
    written = kernel.width // its.format.per_byte
    return _side_by_side(layer, kernel, layer.shape[0] // layer.group) and its.format.pixel_bytes(reader) % written == 0


def _prepare(unit: Unit, kernel: Kernel, reason: str) -> PreparedUnit:
    """Pack weights and constants; neutral constants change no bit (x − 0, 1 · x, x + −0)."""
    channels, falling, thresholds, layer = unit.channels_out, falling_channels(unit), None, unit.layer
    if falling is None:
        falling = np.zeros(channels, np.bool_)
    else:
        layer, thresholds = negated(unit.layer, falling), integer_thresholds(unit, falling)
    if kernel.format.sliced:
        weights = slice_weights(layer)
    else:
        weights = pack_weights(layer, kernel.format, kernel.lanes, kernel.lane_order, kernel.turn_bytes)
    values = {
        Constant.SCALE: np.float32(2) * unit.layer.scale,
        Constant.BIAS: unit.layer.bias,
        Constant.SHIFT_IN: _or(unit.shift_in, channels, 0.0),
        Constant.SLOPE: _or(unit.slope, channels, 1.0),
        Constant.SHIFT_OUT: _or(unit.shift_out, channels, -0.0),
    }
    if unit.bits_for is not None:
        values[Constant.THRESHOLD] = unit.bits_for.threshold
    constants = pack_constants(kernel.format.groups(layer)[0], kernel.lanes, kernel.width, values)
    blocks = block_table(layer, kernel.format, kernel.lanes, weights, constants)
    error = kernel.format.pad_error(layer)
    return PreparedUnit(unit, layer, kernel, reason, falling, thresholds, weights, blocks, constants, error)


def _or(value: NDArray[np.float32] | None, channels: int, missing: float) -> NDArray[np.float32]:
    return np.full(channels, missing, np.float32) if value is None else value


def _copy(value: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.ascontiguousarray(value, np.float32)


def conv_steps(
    ready: PreparedUnit,
    image: PackedImage,
    target: PackedImage | None,
    out: NDArray[np.float32] | None,
    residual: NDArray[np.float32] | None,
    tables: dict[bytes, NDArray[np.int32]],
) -> list[Step]:
    """Bind a unit, its convolution last.

    ``image`` is its packed input, ``target`` its packed output or None, ``out`` and ``residual`` float32
    ``[count, H, W, O]`` or None, perhaps one buffer. ``tables`` are the pixel tables so far: layers of one geometry
    share one, which then stays in the cache.
    """
    unit, kernel = ready.unit, ready.kernel
    flags = Flag(0)
    if unit.residual is not None:
        flags |= Flag.RESIDUAL
    if unit.shift_in is not None or unit.slope is not None or unit.shift_out is not None:
        flags |= Flag.ACTIVATION
    if out is not None:
        flags |= Flag.STORE
    if target is not None:
        flags |= Flag.BITS
    base, classes = border_bases(image, ready.layer, ready.pad_error)
    limits: NDArray[Any] | None = None
    if ready.thresholds is not None:
        flags, limits = Flag.LIMITS, np.ascontiguousarray((base - ready.thresholds) // 2 + 1, np.int32)
        if kernel.format.sliced:
            limits = limit_planes(limits, ready.layer)
    size, step = (0, 0) if kernel.before is None else kernel.before.scratch(image)
    if kernel.format.sliced:
        seen = one_bit_an_output(image)
        window, rows = taps(seen, ready.layer.shape[1], step), cells(seen)
    else:
        seen, window, rows = image, pieces(image, kernel.piece, kernel.grain), 1
    pixels = pixel_table(seen, classes, target, kernel.order, kernel.pixels, rows)
    pixels = tables.setdefault(pixels.tobytes(), pixels)
    words = np.zeros(ConvWord.SIZE, np.int64)
    words[ConvWord.ACT], words[ConvWord.ACT_STRIDE] = _place(image.data)
    words[ConvWord.PIXELS], words[ConvWord.TILES] = pixels.ctypes.data, len(pixels) // kernel.pixels
    words[ConvWord.PIECES], words[ConvWord.PIECE_COUNT] = window.ctypes.data, len(window)
    halves = (base / 2).astype(np.float32)
    words[ConvWord.BLOCKS], words[ConvWord.BASE] = ready.blocks.ctypes.data, halves.ctypes.data
    if residual is not None:
        words[ConvWord.RESIDUAL], words[ConvWord.RESIDUAL_STRIDE] = _place(residual)
    if out is not None:
        words[ConvWord.OUT], words[ConvWord.OUT_STRIDE] = _place(out)
    if target is not None:
        words[ConvWord.BITS], words[ConvWord.BITS_STRIDE] = _place(target.data)
        words[ConvWord.BITS] += target.origin
        words[ConvWord.NIBBLES] = target.format.per_byte == 4
    words[ConvWord.CHANNELS], words[ConvWord.FLAGS] = unit.channels_out, int(flags)
    keep = [ready, image, target, out, residual, halves, window, pixels, limits]
    if limits is not None:
        words[ConvWord.LIMITS] = limits.ctypes.data
        words[ConvWord.LIMITS_STRIDE] = limits.strides[0] // unit.channels_out
    if kernel.table is not None:
        words[ConvWord.TABLE] = kernel.table().ctypes.data
    words[ConvWord.INPUTS] = unit.layer.shape[1]
    words[ConvWord.CELLS] = rows.bit_length() - 1
    steps = []
    if kernel.before is not None and size:
        made = aligned(size)
        keep.append(made)
        words[ConvWord.SCRATCH], words[ConvWord.SCRATCH_STRIDE] = made.ctypes.data, step
        words[ConvWord.ACT_ROW], words[ConvWord.ACT_PIXEL] = image.row_bytes, image.pixel_bytes
        words[ConvWord.SCRATCH_PIXEL] = seen.pixel_bytes
        if kernel.before.table is not None:
            table = kernel.before.table(image, step)
            keep.append(table)
            words[ConvWord.TABLE], words[ConvWord.GATHERS] = table.ctypes.data, len(table)
        call = entry_point(kernel.before.module, kernel.before.symbol)
        steps.append(
            Step(f"{unit.layer.name}:{kernel.before.symbol}", call, words, image.data.shape[1] // image.row_bytes, keep)
        )
    units = len(pixels) // kernel.pixels * len(ready.blocks)
    return [*steps, Step(unit.layer.name, entry_point(kernel.module, kernel.symbol), words, units, keep)]


def identity_step(ready: PreparedUnit, step: Step, out: NDArray[np.float32]) -> Step:
    """Return ``step`` with an epilogue that stores the accumulators as float32 (exact) to ``out`` ``[1, H, W, O]``."""
    layer, kernel = ready.layer, ready.kernel
    twice = np.where(ready.falling, -2, 2).astype(np.float32)
    constants = pack_constants(kernel.format.groups(layer)[0], kernel.lanes, kernel.width, {Constant.SCALE: twice})
    blocks = block_table(layer, kernel.format, kernel.lanes, ready.weights, constants)
    words = step.words.copy()
    words[ConvWord.BLOCKS] = blocks.ctypes.data
    words[ConvWord.OUT], words[ConvWord.OUT_STRIDE] = out.ctypes.data, 0
    words[ConvWord.FLAGS] = int(Flag.STORE)
    return Step(step.name, step.call, words, step.units, [step, constants, blocks, out])


def pack_step(unit: Unit, source: NDArray[np.float32], image: PackedImage) -> Step:
    """Bind the packing of a float32 buffer ``[count, H, W, C]``, max-pooled if the unit says so, to its input."""
    layer, threshold = unit.layer, _copy(unit.threshold)
    height, row, pixel = source.shape[1], *(stride // 4 for stride in source.strides[1:3])
    words = np.zeros(PackWord.SIZE, np.int64)
    words[PackWord.SOURCE], words[PackWord.SOURCE_STRIDE] = _place(source)
    words[PackWord.ROW_STRIDE], words[PackWord.PIXEL_STRIDE] = row, pixel
    words[PackWord.THRESHOLD] = threshold.ctypes.data
    words[PackWord.TARGET], words[PackWord.TARGET_STRIDE] = _place(image.data)
    words[PackWord.TARGET] += image.origin
    words[PackWord.WIDTH], words[PackWord.ROW_BYTES], words[PackWord.PIXEL_BYTES] = (
        image.width,
        image.row_bytes,
        image.pixel_bytes,
    )
    groups, channels = image.format.groups(layer)
    words[PackWord.GROUPS], words[PackWord.GROUP_CHANNELS] = groups, channels
    words[PackWord.GROUP_BYTES] = image.format.group_bytes(channels)
    words[PackWord.NIBBLES] = image.format.per_byte == 4
    symbol = "pack_floats"
    if (pool := unit.pool) is not None:
        symbol, height = "pack_pooled", image.height
        words[PackWord.SOURCE_HEIGHT], words[PackWord.SOURCE_WIDTH] = source.shape[1:3]
        words[PackWord.POOL_HEIGHT], words[PackWord.POOL_WIDTH] = pool.kernel
        words[PackWord.POOL_STRIDE_Y], words[PackWord.POOL_STRIDE_X] = pool.strides
        words[PackWord.POOL_TOP], words[PackWord.POOL_LEFT] = pool.pads[:2]
    call = entry_point("pack", symbol)
    return Step(f"{layer.name}:pack", call, words, height, [threshold, source, image])


def project_steps(projection: Projection, source: NDArray[np.float32], out: NDArray[np.float32]) -> list[Step]:
    """Bind a float shortcut from one float32 buffer ``[count, H, W, C]`` to another."""
    outputs, channels = projection.weight.shape
    weight = aligned(outputs * channels, np.float32).reshape(outputs // SHORTCUT_LANES, channels, SHORTCUT_LANES)
    weight[:] = projection.weight.reshape(outputs // SHORTCUT_LANES, SHORTCUT_LANES, channels).transpose(0, 2, 1)
    bias, (height, width), pool = _copy(projection.bias), out.shape[1:3], projection.pool
    means = source if pool is None else aligned(height * width * channels, np.float32).reshape(1, -1)
    words = np.zeros(ShortcutWord.SIZE, np.int64)
    words[ShortcutWord.SOURCE], words[ShortcutWord.SOURCE_STRIDE] = _place(source)
    words[ShortcutWord.HEIGHT], words[ShortcutWord.WIDTH], words[ShortcutWord.CHANNELS] = source.shape[1:]
    words[ShortcutWord.MEANS], words[ShortcutWord.MEANS_STRIDE] = _place(means)
    words[ShortcutWord.WEIGHT], words[ShortcutWord.BIAS] = weight.ctypes.data, bias.ctypes.data
    words[ShortcutWord.OUT], words[ShortcutWord.OUT_STRIDE] = _place(out)
    words[ShortcutWord.OUT_WIDTH], words[ShortcutWord.OUT_PIXELS], words[ShortcutWord.OUTPUTS] = (
        width,
        height * width,
        outputs,
    )
    keep = [source, out, weight, bias, means]
    steps = []
    if pool is not None:
        words[ShortcutWord.POOL_HEIGHT], words[ShortcutWord.POOL_WIDTH] = pool.kernel
        words[ShortcutWord.STRIDE_Y], words[ShortcutWord.STRIDE_X] = pool.strides
        steps.append(Step(f"{projection.name}:mean", entry_point("shortcut", "mean_rows"), words, height, keep))
    wide = "avx512f" in usable_features() and outputs % (2 * SHORTCUT_LANES) == 0
    call = entry_point("shortcut", "project_blocks_wide" if wide else "project_blocks")
    return [*steps, Step(projection.name, call, words, outputs // SHORTCUT_LANES // (2 if wide else 1), keep)]


def _place(buffer: NDArray[Any]) -> tuple[int, int]:
    """Return address and bytes from one image to the next, 0 for a buffer of one image that all share."""
    return buffer.ctypes.data, 0 if len(buffer) == 1 else buffer.strides[0]
