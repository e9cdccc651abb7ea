"""The loops that a float and an int8 engine could run at best on ARM, as assembly for llvm-mca.

Each is a turn of a matrix product whose operands lie in L1: all accumulators stay in registers, and every load stands a
step before it is used.
"""

__all__ = ["PEERS", "Loop"]

from dataclasses import dataclass


@dataclass(frozen=True)
class Loop:
    """Instructions of a turn, its products, and what LLVM must be told that the core has (``+dotprod``)."""

    lines: tuple[str, ...]
    products: int
    needs: str = ""


def _tile(multiply: str, kind: str, part: str, products: int, needs: str) -> Loop:
    """Return four rows × 16 columns, four steps deep: 64 multiplications by an element of a vector."""
    lines = [f"ldr q{16 + row}, [x{row}], #16" for row in range(4)]
    lines += ["ldp q20, q21, [x4]", "ldp q22, q23, [x4, #32]"]
    for step in range(4):
        now, ahead = 20 + 4 * (step % 2), 24 - 4 * (step % 2)
        work = [
            f"{multiply} v{4 * row + column}.4s, v{now + column}.{kind}, v{16 + row}.{part}[{step}]"
            for row in range(4)
            for column in range(4)
        ]
        if step < 3:
            work.insert(2, f"ldp q{ahead}, q{ahead + 1}, [x4, #{64 * step + 64}]")
            work.insert(6, f"ldp q{ahead + 2}, q{ahead + 3}, [x4, #{64 * step + 96}]")
        lines += work
    return Loop((*lines, "add x4, x4, #256", "subs x5, x5, #1", "b.ne L"), products, needs)


def _pairs() -> Loop:
    """Return two rows × four columns, 16 deep, for cores without dot products: multiply, multiply and add, widen."""
    lines = ["ldr q8, [x0], #16", "ldr q9, [x1], #16", "ldp q10, q11, [x4], #64", "ldp q12, q13, [x4, #-32]"]
    cells = [(row, column) for column in range(4) for row in range(2)]
    lines += [f"smull v{16 + i}.8h, v{8 + row}.8b, v{10 + column}.8b" for i, (row, column) in enumerate(cells)]
    lines += [f"smlal2 v{16 + i}.8h, v{8 + row}.16b, v{10 + column}.16b" for i, (row, column) in enumerate(cells)]
    lines += [f"sadalp v{i}.4s, v{16 + i}.8h" for i in range(8)]
    return Loop((*lines, "subs x5, x5, #1", "b.ne L"), 2 * 4 * 16)


PEERS = {
    "fp32": _tile("fmla", "4s", "s", 4 * 16 * 4, ""),
    "int8, sdot": _tile("sdot", "16b", "4b", 4 * 16 * 16, "+dotprod"),
    "int8, smlal": _pairs(),
}
"""Name -> loop."""
