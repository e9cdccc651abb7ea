"""The few LLVM building blocks of the kernels, over plain addresses (int64).

Kernels take addresses, not arrays: the same function then serves the just-in-time path and a shared library built ahead
of time, and needs nothing of numba's runtime. Vector code is written as LLVM IR, since numba has no vector types: a
function of a builder emits it, and :func:`routine` makes of such a function one that a kernel can call.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import llvmlite.ir as ir
from numba import cfunc, types
from numba.core import cgutils as _cgutils
from numba.extending import intrinsic

__all__ = [
    "F32",
    "I1",
    "I8",
    "I16",
    "I32",
    "I64",
    "broadcast",
    "call_kernel",
    "cg",
    "const",
    "emit_intrinsic",
    "emit_load",
    "emit_mask",
    "emit_masked_load",
    "emit_masked_store",
    "emit_store",
    "emit_word",
    "keep_short",
    "kernel",
    "load_i64",
    "pointer",
    "portable",
    "prefetch",
    "routine",
    "scratch",
    "splat",
    "vector",
]

cg: Any = _cgutils  # numba's code generation helpers, which carry no types
I1, I8, I16, I32, I64, F32 = (
    ir.IntType(1),
    ir.IntType(8),
    ir.IntType(16),
    ir.IntType(32),
    ir.IntType(64),
    ir.FloatType(),
)

kernel: Callable[[Callable[[int, int, int, int], None]], Any] = cfunc(
    "void(int64, int64, int64, int64)", error_model="numpy"
)
"""Decorator of a kernel: a C function of four int64, the address of its words first, compiled at import."""


def const(value: int) -> ir.Constant:
    """Return an i64 constant."""
    return ir.Constant(I64, value)


def splat(kind: ir.Type, value: float) -> ir.Constant:
    """Return a constant vector of one value, or the value where ``kind`` is no vector."""
    return ir.Constant(kind, [value] * kind.count if isinstance(kind, ir.VectorType) else value)


def vector(element: ir.Type, lanes: int) -> ir.Type:
    """Return a vector type, or the scalar itself for one lane."""
    return element if lanes == 1 else ir.VectorType(element, lanes)


def broadcast(builder: ir.IRBuilder, value: ir.Value, lanes: int) -> ir.Value:
    """Emit a vector that holds ``value``, which need not be constant, in every lane."""
    kind = ir.VectorType(value.type, lanes)
    one = builder.insert_element(ir.Constant(kind, ir.Undefined), value, ir.Constant(I32, 0))
    return builder.shuffle_vector(one, one, splat(ir.VectorType(I32, lanes), 0))


def pointer(builder: ir.IRBuilder, address: ir.Value, kind: ir.Type) -> ir.Value:
    """Turn an i64 address into a pointer."""
    return builder.inttoptr(address, kind.as_pointer())


def emit_load(builder: ir.IRBuilder, address: ir.Value, kind: ir.Type, align: int = 1) -> ir.Value:
    """Emit a load of ``kind`` from an i64 address."""
    loaded = builder.load(pointer(builder, address, kind))
    loaded.align = align
    return loaded


def emit_store(builder: ir.IRBuilder, address: ir.Value, value: ir.Value, align: int = 1) -> None:
    """Emit a store to an i64 address."""
    builder.store(value, pointer(builder, address, value.type)).align = align


def emit_intrinsic(builder: ir.IRBuilder, name: str, result: ir.Type, *arguments: ir.Value) -> ir.Value:
    """Emit a call of a function that LLVM knows by name, most often one instruction."""
    kind = ir.FunctionType(result, [argument.type for argument in arguments])
    return builder.call(cg.get_or_insert_function(builder.module, kind, name), arguments)


def emit_mask(builder: ir.IRBuilder, count: ir.Value, lanes: int) -> ir.Value:
    """Emit the mask of the first ``count`` of ``lanes`` lanes."""
    numbers = ir.Constant(ir.VectorType(I32, lanes), list(range(lanes)))
    return builder.icmp_signed("<", numbers, broadcast(builder, builder.trunc(count, I32), lanes))


def emit_masked_load(builder: ir.IRBuilder, address: ir.Value, kind: ir.VectorType, mask: ir.Value) -> ir.Value:
    """Emit the load of the lanes of a mask, the others zeros, whose memory is not touched."""
    place = pointer(builder, address, kind)
    name = f"llvm.masked.load.{_suffix(kind)}"
    return emit_intrinsic(builder, name, kind, place, ir.Constant(I32, 1), mask, splat(kind, 0))


def emit_masked_store(builder: ir.IRBuilder, address: ir.Value, value: ir.Value, mask: ir.Value) -> None:
    """Emit the store of the lanes of a mask."""
    place = pointer(builder, address, value.type)
    name = f"llvm.masked.store.{_suffix(value.type)}"
    emit_intrinsic(builder, name, ir.VoidType(), value, place, ir.Constant(I32, 1), mask)


def _suffix(kind: ir.VectorType) -> str:
    return f"v{kind.count}{'f32' if kind.element == F32 else kind.element}.p0"


def emit_word(builder: ir.IRBuilder, words: ir.Value, index: int, *, constant: bool = False) -> ir.Value:
    """Emit the load of one of the int64 words at an address; a ``constant`` one LLVM may load once for all tiles."""
    word = emit_load(builder, builder.add(words, const(8 * index)), I64)
    if constant:
        word.set_metadata("invariant.load", builder.module.add_metadata([]))
    return word


def keep_short(builder: ir.IRBuilder, loop: Any) -> None:
    """Tell LLVM that a loop of :func:`cg.for_range` ends after few turns: unrolled, it would be all preparation.

    Call it behind the loop.
    """
    module = builder.module
    name = module.add_metadata([module.add_metadata(["llvm.loop.unroll.disable"])])
    if name not in name.operands:
        name.operands = (name, *name.operands)  # a loop is named by a node that begins with itself
    loop.index.incomings[-1][1].terminator.set_metadata("llvm.loop", name)


def portable(module: Any, name: str, result: ir.Type, kinds: Sequence[ir.Type], emit: Callable[..., Any]) -> ir.Value:
    """Return a function of these types that ``emit(builder, *arguments)`` makes in plain LLVM.

    It stands in for an instruction that LLVM cannot be told portably: :mod:`..machine.objects` puts another definition
    of the same name in its place on a machine that has it.
    """
    if name in module.globals:
        return module.globals[name]
    function = ir.Function(module, ir.FunctionType(result, kinds), name)
    function.linkage = "weak"
    for attribute in ("noinline", "nounwind", "readnone"):
        function.attributes.add(attribute)
    b = ir.IRBuilder(function.append_basic_block())
    b.ret(emit(b, *function.args))
    return function


def routine(emit: Callable[..., None]) -> Any:
    """Return what a kernel calls to have the code of ``emit(builder, *addresses)`` in its place; all are int64."""

    @functools.wraps(emit)
    def typed(typing_context: Any, *arguments: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            emit(builder, *values)
            return context.get_dummy_value()

        return types.void(*(types.int64,) * len(arguments)), generate

    return intrinsic(typed)


def _load_i64(typing_context: Any, address: Any, index: Any) -> Any:
    """Return the int64 word number ``index`` at an address."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return emit_load(builder, builder.add(arguments[0], builder.mul(arguments[1], const(8))), I64)

    return types.int64(types.int64, types.int64), generate


load_i64: Any = intrinsic(_load_i64)


@routine
def prefetch(b: Any, address: Any, size: Any) -> None:
    """Ask for the cache lines of ``size`` bytes at an address; what lies there is not touched, right or wrong."""
    read, keep, data = (ir.Constant(I32, value) for value in (0, 2, 1))
    with cg.for_range_slice(b, const(0), size, const(64), I64, inc=True) as (offset, _):
        place = b.inttoptr(b.add(address, offset), I8.as_pointer())
        emit_intrinsic(b, "llvm.prefetch.p0", ir.VoidType(), place, read, keep, data)


@routine
def call_kernel(b: Any, address: Any, words: Any, second: Any, third: Any, fourth: Any) -> None:
    """Call the kernel at an address."""
    of_kernel = ir.FunctionType(ir.VoidType(), [I64] * 4)
    b.call(b.inttoptr(address, of_kernel.as_pointer()), [words, second, third, fourth])


def _scratch(typing_context: Any, size: Any) -> Any:
    """Return the address of ``size`` (a literal) bytes on the stack of the kernel, on a 64-byte border."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        with builder.goto_entry_block():  # not cg.alloca_once: it stores zeros, a large array's for minutes of LLVM
            room = builder.alloca(ir.ArrayType(I8, size.literal_value))
        room.align = 64
        return builder.ptrtoint(room, I64)

    return (types.int64(size), generate) if isinstance(size, types.IntegerLiteral) else None


scratch: Any = intrinsic(_scratch)
