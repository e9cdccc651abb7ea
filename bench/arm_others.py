"""What the kernels that do not count would take on ARM cores: the rows of the second table of arm_model.py."""

import re
from dataclasses import dataclass

from .arm_loops import shortest
from .arm_peers import Loop

__all__ = ["ROWS", "Row", "loop_of"]


@dataclass(frozen=True)
class Row:
    """A loop of ours.

    ====== ================================================================================
    name   as the table shows it
    file   ``MODULE.SYMBOL``, where the loop stands
    counts instructions that the loop has so often in a turn, and by which it is found
    work   what a turn does, and
    unit   how much of it the table counts, and of what
    needs  what the core must have besides NEON, as LLVM writes it
    ====== ================================================================================
    """

    name: str
    file: str
    counts: dict[str, int]
    work: int
    unit: tuple[int, str]
    needs: str = ""


_PRODUCTS, _VALUES = (1024, "products"), (64, "values")
_EPILOGUE = "ctp.conv_ctp"
ROWS = (
    Row("exact stem, pairs (not used on ARM)", "stem_pairs.sums_pairs", {"smull": 32}, 128, _PRODUCTS),
    Row("exact stem, singles", "stem_singles.sums_singles", {"smlal": 32}, 256, _PRODUCTS),
    Row("exact stem, dots", "stem_dots.sums_dots", {"sdot": 32}, 512, _PRODUCTS, "+dotprod"),
    Row("packing of floats", "pack.pack_floats", {"fcmge": 8, "fmul": 0}, 32, _VALUES),
    Row("packing behind a max-pool, a place of the window", "pack.pack_pooled", {"fcmgt": 12}, 32, _VALUES),
    Row("epilogue: bits by limits", _EPILOGUE, {"cmgt": 4, "cnt": 0, "fmul": 0, "sub": 0}, 16, _VALUES),
    Row("epilogue: floats", _EPILOGUE, {"ucvtf": 4, "fmul": 4, "fadd": 4}, 16, _VALUES),
    Row("epilogue: residual, floats and bits", _EPILOGUE, {"ucvtf": 4, "fmul": 8, "fadd": 8, "fcmge": 4}, 16, _VALUES),
    Row("depthwise, eight taps of 512 channels", "slice.conv_slice", {"eor": 100, "ld1": 0}, 4096, _PRODUCTS),
    Row("float shortcut", "shortcut.project_blocks", {"fmla": 24}, 96, _PRODUCTS),
    Row("float mean", "mean.mean", {"fadd": 4, "fdiv": 0}, 16, _VALUES),
    Row("chain: Mul", "chain.chain", {"fmul": 4, "fadd": 0, "fsub": 0, "fcmgt": 0, "fcmlt": 0}, 16, _VALUES),
    Row("chain: HardSwish", "chain.chain", {"fmul": 8, "fadd": 4}, 16, _VALUES),
    Row("dense layer of one bit a weight, real inputs", "bytes.sums_bytes", {"fadd": 13}, 128, _PRODUCTS),
)


def loop_of(row: Row, text: str) -> Loop | None:
    """Return the loop of a row in the assembly of its file, all its branches to one label; None where there is none.

    LLVM does several turns in one for some cores. Of such loops it is the one of the fewest instructions for its work.
    """
    ways = {turns: shortest(text, {name: turns * count for name, count in row.counts.items()}) for turns in (1, 2, 4)}
    found = {turns: way for turns, way in ways.items() if way}
    if not found:
        return None
    turns = min(found, key=lambda each: len(found[each]) / each)
    return Loop(tuple(re.sub(r"\.L\w+$", "L", line) for line in found[turns]), turns * row.work, row.needs)
