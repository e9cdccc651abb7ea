"""Benchmarks: every program is listed in bench/README.md, and every stored result names a program that still exists."""

import ast
import json
import re
import runpy
from pathlib import Path

import pytest

from .source import CHECKOUT

BENCH = CHECKOUT / "bench"
FILES = sorted(BENCH.rglob("*.py"))
PROGRAMS = {
    ".".join(path.relative_to(CHECKOUT).with_suffix("").parts)
    for path in FILES
    if '__name__ == "__main__"' in path.read_text(encoding="utf-8")
}
RESULTS = sorted((BENCH / "results").rglob("*.json"))


def test_the_page_lists_every_program() -> None:
    page = (BENCH / "README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"`(bench\.[a-z0-9_.]+)`", page)) == PROGRAMS


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: str(path.relative_to(BENCH)))
def test_a_result_names_a_program_that_exists(path: Path) -> None:
    """Results keep the command of their day, when programs lay elsewhere; their names are the same."""
    command = json.loads(path.read_text(encoding="utf-8"))["command"].split()
    names = {Path(word).stem for word in command if word.endswith(".py")}
    names |= {word.rsplit(".", 1)[-1] for word in command if word.startswith("bench.")}
    assert names - {"older_cpu"} <= {program.rsplit(".", 1)[-1] for program in PROGRAMS}
    assert names
    assert "older_cpu" not in names or (CHECKOUT / "tools" / "older_cpu.py").is_file()


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(BENCH)))
def test_nothing_of_bench_is_found_by_a_trick(path: Path) -> None:
    """Its modules import each other relatively (they run as ``python -m bench.…``) and leave ``sys.path`` alone."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    stems = {other.stem for other in FILES}
    wrong = [
        node.lineno
        for node in ast.walk(tree)
        if (isinstance(node, ast.ImportFrom) and not node.level and node.module in stems)
        or (isinstance(node, ast.Import) and any(alias.name in stems for alias in node.names))
        or (isinstance(node, ast.Attribute) and ast.unparse(node) == "sys.path")
    ]
    assert not wrong, f"{path.name}: lines {wrong}"


def test_the_way_round_a_loop_is_found() -> None:
    """An inner loop is passed once, an exit is no way, and of two ways round it is the shorter one."""
    shortest = runpy.run_path(str(BENCH / "arm_loops.py"))["shortest"]
    text = (
        "f:\n\tmov\tx1, x0\n.L1:\n\tldr\tq0, [x1]\n\tcbz\tx2, .L3\n\tadd\tx3, x3, #1\n\tadd\tx4, x4, #1\n.L3:\n"
        "\tstr\tq0, [x1]\n\tb.ge\t.L9\n\tb\t.L1\n.L9:\n\tret\n"
    )
    assert shortest(text, {"ldr": 1}) == ("ldr\tq0, [x1]", "cbz\tx2, .L3", "str\tq0, [x1]", "b.ge\t.L9", "b\t.L1")
    assert len(shortest(text, {"add": 2}) or ()) == 7
    assert shortest(text, {"add": 1}) is None
    assert shortest(text, {"mov": 1}) is None
