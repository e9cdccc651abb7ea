"""The runtime on emulated machines: the same answers, bit for bit where integers are concerned.

Emulation shows that answers are right and that no illegal instruction occurs. It says nothing about speed.
"""

import json
import platform
import re
from pathlib import Path

import numpy as np
import pytest

from latentbit.runtime import InferenceSession

from .board import Board
from .conftest import BUNDLE, CASES
from .disassembly import inner_loops

pytestmark = [pytest.mark.board, pytest.mark.timeout(1800)]

TOLERANCE = 1e-5
"""Logits of another machine: onnxruntime sums the float stem and the head in another order there (float32, sums of at
most a few hundred terms near 1). The binary layers between them are exact."""

CHECK = ("--json", "--oracle-samples", "8", "--latency-runs", "3")


@pytest.fixture(params=["aarch64", "nehalem"])
def machine(request: pytest.FixtureRequest) -> tuple[str, Board]:
    return request.param, request.getfixturevalue(request.param)


def test_it_is_another_machine(aarch64: Board, nehalem: Board) -> None:
    assert aarch64.python("-c", "import platform; print(platform.machine())").stdout == "aarch64\n"
    code = "import llvmlite.binding as b; print(b.get_host_cpu_features().get('avx2', False))"
    assert nehalem.python("-c", code).stdout == "False\n"


def test_conformance_suite(machine: tuple[str, Board], package: Path) -> None:
    _, board = machine
    done = board.python(str(Path(__file__).with_name("conformance.py")), str(CASES), extra=[package])
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["wrong"] == []
    assert report["cases"] == len(list(CASES.glob("*/*/model.onnx"))) > 20
    assert {"ctp", "onnxruntime"} >= set(report["kernels"]) > {"onnxruntime"}, "the portable kernel, and no other"


def test_the_check_of_a_bundle_passes(machine: tuple[str, Board], package: Path) -> None:
    name, board = machine
    done = board.python("-m", "latentbit.runtime", "check", str(BUNDLE), *CHECK, extra=[package])
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert report["passed"] is True
    assert report["agreement"]["oracle_integer_mismatches"] == 0
    assert report["agreement"]["oracle_integers_compared"] > 10_000
    assert report["agreement"]["top1_agreement"] == 1.0
    assert report["agreement"]["max_abs_logit_difference"] < TOLERANCE
    assert report["environment"]["machine"] == ("aarch64" if name == "aarch64" else platform.machine())
    assert "avx2" not in report["environment"]["features"]
    assert set(report["kernels"].values()) == {"ctp"}


def test_logits_equal_those_of_this_machine(
    machine: tuple[str, Board], package: Path, model: Path, tmp_path: Path
) -> None:
    _, board = machine
    inputs, answers = tmp_path / "inputs.npy", tmp_path / "answers.npy"
    with np.load(model.with_name("reference.npz")) as reference:
        np.save(inputs, reference["inputs"])
    done = board.python("-m", "latentbit.runtime", "run", str(model), str(inputs), "-o", str(answers), extra=[package])
    assert done.returncode == 0, done.stderr
    here = InferenceSession(model)
    (expected,) = here.run(None, {here.get_inputs()[0].name: np.load(inputs)})
    np.testing.assert_allclose(np.load(answers), expected, rtol=0, atol=TOLERANCE)


def test_the_inner_loop_counts_bits_with_neon(aarch64: Board, package: Path, tmp_path: Path) -> None:
    """Per step: 4 pixels loaded to all lanes; xor, count and add on 4 × 64 channels; nothing spilt."""
    script = Path(__file__).with_name("disassembly.py")
    done = aarch64.python(str(script), extra=[package], settings={"NUMBA_CACHE_DIR": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    counting = [loop for loop in inner_loops(done.stdout) if any(line.startswith("cnt\t") for line in loop)]
    assert len(counting) == 1
    (loop,) = counting
    vector = [line.split("\t")[0] for line in loop if re.search(r"v\d+\.16b", line)]
    assert {name: vector.count(name) for name in set(vector)} == {"ld1r": 4, "eor": 16, "cnt": 16, "add": 16}
    assert not [line for line in loop if "sp" in line or line.startswith("bl")]


def test_the_reader_of_loops_is_not_blind() -> None:
    nested = (
        "f:\n.L1:\n\tmov\tx0, x1\n.L2:\n\tcnt\tv0.16b, v1.16b\n\tb.ne\t.L2\n\tcbnz\tx0, .L1\n\tb\t.L3\n.L3:\n\tret\n"
    )
    assert inner_loops(nested) == [["cnt\tv0.16b, v1.16b", "b.ne\t.L2"]]
