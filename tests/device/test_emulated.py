"""The runtime on emulated machines: the same answers, bit for bit where integers are concerned.

Emulation shows that answers are right and that no illegal instruction occurs. It says nothing about speed.
"""

import json
import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from .board import Board
from .conftest import BUNDLES, CASES
from .disassembly import inner_loops
from .probe import answers

pytestmark = [pytest.mark.board, pytest.mark.timeout(1800)]

TOLERANCE = 1e-5
"""Logits of another machine: onnxruntime sums the float head in another order there (float32, sums of at most a few
hundred terms near 1)."""

HERE = Path(__file__).parent


MACHINES = ("aarch64", "aarch64-library", "nehalem", "nehalem-library")
"""With kernels compiled there or, without numba, from a library that was built here."""


@pytest.fixture(scope="module")
def probes(aarch64: Board, nehalem: Board, package: Path, libraries: Path) -> dict[str, dict[str, Any]]:
    """Return what one process on each machine found; as many at a time as there are cores."""

    def run(machine: str) -> dict[str, Any]:
        name, _, ahead = machine.partition("-")
        done = {"aarch64": aarch64, "nehalem": nehalem}[name].python(
            str(HERE / "probe.py"),
            str(CASES),
            *map(str, BUNDLES),
            extra=[package],
            hidden=["numba", "llvmlite"] if ahead else [],
            settings={"LATENTBIT_KERNELS": str(libraries)} if ahead else {},
        )
        assert done.returncode == 0, f"{machine}: {done.stderr}"
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return dict(zip(MACHINES, pool.map(run, MACHINES), strict=True))


@pytest.fixture(params=MACHINES)
def probe(request: pytest.FixtureRequest, probes: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return what was found on one machine."""
    found = probes[request.param]
    assert found["machine"] == ("aarch64" if request.param.startswith("aarch64") else "x86_64")
    assert found["jit"] is not request.param.endswith("library")
    return found


def test_it_has_no_avx2_and_runs_the_kernels_of_neon_or_the_portable_ones(probe: dict[str, Any]) -> None:
    neon = {"tbl"} if probe["machine"] == "aarch64" else set[str]()
    for report in probe["bundles"].values():
        assert "avx2" not in report["environment"]["features"]
        assert set(report["kernels"].values()) <= neon | {"ctp"}
        tried = any(reason.endswith("times as long on this machine") for reason in report["reasons"])
        assert tried is bool(neon), "tbl and ctp have been tried on this machine"
    assert set(probe["conformance"]["kernels"]) - neon == {"ctp", "slice", "spread"}
    assert neon <= set(probe["look-ups"]["kernels"])
    assert "tbl" not in probe["portable"]["kernels"]
    assert "bytes" in probe["conformance"]["others"]
    # Compiled on the board, which has dot products; a library of the class aarch64 asks for none.
    stem = ("dots" if probe["jit"] else "singles") if neon else "pairs"
    assert probe["bundles"]["exact"]["sums"] == [stem]


@pytest.mark.parametrize("suite", ["conformance", "look-ups", "portable"])
def test_the_conformance_suite_passes(probe: dict[str, Any], suite: str) -> None:
    assert probe[suite]["wrong"] == []
    assert probe[suite]["cases"] == len(list(CASES.glob("*/*/model.onnx"))) > 20


@pytest.mark.parametrize("bundle", BUNDLES, ids=lambda path: path.stem)
def test_the_check_of_a_bundle_passes(probe: dict[str, Any], bundle: Path) -> None:
    report = probe["bundles"][bundle.stem]
    assert report["failures"] == []
    assert report["passed"] is True
    assert report["agreement"]["oracle_integer_mismatches"] == 0
    assert report["agreement"]["oracle_integers_compared"] > 5_000
    assert report["agreement"]["top1_agreement"] == 1.0


@pytest.mark.parametrize("bundle", BUNDLES, ids=lambda path: path.stem)
def test_logits_equal_those_of_this_machine(probe: dict[str, Any], bundle: Path) -> None:
    here, there = answers(bundle), probe["bundles"][bundle.stem]
    np.testing.assert_allclose(there["logits"], here["logits"], rtol=0, atol=TOLERANCE)


def test_an_exact_model_has_the_same_integers_in_every_layer(probe: dict[str, Any]) -> None:
    (bundle,) = [path for path in BUNDLES if path.stem == "exact"]
    here, there = answers(bundle), probe["bundles"]["exact"]
    assert len(here["integers"]) >= 8
    assert there["integers"] == here["integers"]
    assert set(there["agreement"]["flipped_signs"].values()) == {0}


def loop_of(instruction: str, assembly: str) -> tuple[list[str], dict[str, int]]:
    """Return the inner loop with most of an instruction, and how many of each it has on vectors of 16 bytes."""
    loop = max(inner_loops(assembly), key=lambda lines: sum(line.startswith(f"{instruction}\t") for line in lines))
    vector = [line.split("\t")[0] for line in loop if re.search(r"v\d+\.16b", line)]
    return loop, {name: vector.count(name) for name in set(vector)}


def test_the_inner_loops_count_with_neon(aarch64: Board, package: Path, tmp_path: Path) -> None:
    """Per step: 4 pixels loaded to all lanes; xor, count and add on 4 × 64 channels; nothing spilt.

    Or 3 look-ups for 2 pairs of pixels, and no call of the portable form.
    """
    loops = {}
    for module, instruction in (("ctp", "cnt"), ("tbl", "tbl")):
        script = [str(HERE / "disassembly.py"), module]
        done = aarch64.python(*script, extra=[package], settings={"NUMBA_CACHE_DIR": str(tmp_path)})
        assert done.returncode == 0, done.stderr
        loops[module] = loop_of(instruction, done.stdout)
    loop, counts = loops["ctp"]
    assert counts == {"ld1r": 4, "eor": 16, "cnt": 16, "add": 16}
    assert not [line for line in loop if "sp" in line or line.startswith("bl")]
    loop, counts = loops["tbl"]
    assert {name: counts[name] for name in ("tbl", "add", "usra")} == {"tbl": 24, "add": 24, "usra": 8}
    assert not [line for line in loop if line.startswith("bl\t")]


@pytest.mark.parametrize(
    ("mask", "value", "count"),
    [(0xFFFFFC00, 0x4E205800, 16), (0xFFE0FC00, 0x4E000000, 24)],
    ids=["cnt Vd.16B, Vn.16B", "tbl Vd.16B, {Vn.16B}, Vm.16B"],
)
def test_the_library_counts_with_neon(libraries: Path, mask: int, value: int, count: int) -> None:
    """In its machine code the instructions that count in a step stand together: within one loop of up to 100 words."""
    data = (libraries / "aarch64.so").read_bytes()
    words = np.frombuffer(data[: len(data) // 4 * 4], "<u4")
    places = np.flatnonzero(words & mask == value)
    assert len(places) >= count
    assert (places[count - 1 :] - places[: 1 - count]).min() < 100


def test_the_reader_of_loops_is_not_blind() -> None:
    nested = (
        "f:\n.L1:\n\tmov\tx0, x1\n.L2:\n\tcnt\tv0.16b, v1.16b\n\tb.ne\t.L2\n\tcbnz\tx0, .L1\n\tb\t.L3\n.L3:\n\tret\n"
    )
    assert inner_loops(nested) == [["cnt\tv0.16b, v1.16b", "b.ne\t.L2"]]
