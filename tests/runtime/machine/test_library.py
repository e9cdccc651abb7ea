"""Kernels compiled ahead of time: the same answers without numba, and nothing but a fitting library is ever used."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from latentbit.runtime import InferenceSession
from latentbit.runtime.errors import ConfigError, MissingExtraError, ModelError
from latentbit.runtime.kernels.build import build_libraries
from latentbit.runtime.kernels.dense import SIGNED
from latentbit.runtime.kernels.registry import KERNELS
from latentbit.runtime.kernels.sums import SUMS
from latentbit.runtime.machine import library
from latentbit.runtime.machine.library import (
    CLASSES,
    VARIABLE,
    cpu_class,
    cpu_classes,
    current_library,
    kernel_sources,
    load_library,
    use_library,
)

from ...house.source import imports, modules

BUNDLE = Path(__file__).resolve().parents[2] / "data" / "digits.zip"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the library for this CPU; skips where there is no linker for it."""
    name = cpu_class()
    if name is None:
        pytest.skip("this CPU is of no class that libraries are built for")
    try:
        (path,) = build_libraries(tmp_path_factory.mktemp("kernels"), [name])
    except MissingExtraError as error:
        pytest.skip(str(error))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.unpack_archive(BUNDLE, tmp_path / "bundle")
    return tmp_path / "bundle"


def test_a_process_with_a_library_imports_neither_numba_nor_llvmlite(built: Path) -> None:
    for place in (built, built.parent):
        code = (
            "import sys; from latentbit.runtime.__main__ import main\n"
            "code = main(['check', sys.argv[1], '--json', '--oracle-samples', '2', '--latency-runs', '3'])\n"
            "print([name for name in ('numba', 'llvmlite') if name in sys.modules], file=sys.stderr); sys.exit(code)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, str(BUNDLE)],
            env={**os.environ, VARIABLE: str(place)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "[]\n")
        report = json.loads(done.stdout)
        assert (report["passed"], report["jit"], report["kernel_library"]) == (True, False, cpu_class())


def test_answers_equal_those_of_kernels_compiled_here(built: Path, folder: Path) -> None:
    with np.load(folder / "reference.npz") as reference:
        inputs = reference["inputs"]
    answers = []
    for place in (built, None):
        with use_library(place):
            session = InferenceSession(folder / "model.onnx")
            feeds = {session.get_inputs()[0].name: inputs}
            answers.append((session.run(None, feeds)[0], [trace.accumulators for trace in session.trace(feeds)]))
    np.testing.assert_array_equal(answers[0][0], answers[1][0])
    for ahead, here in zip(answers[0][1], answers[1][1], strict=True):
        np.testing.assert_array_equal(ahead, here)


def test_a_library_of_a_lesser_class_runs_its_own_kernels(tmp_path: Path, folder: Path) -> None:
    """A newer CPU takes what is there; its layers go to kernels that the library has."""
    if "x86-64-v2" not in cpu_classes():
        pytest.skip("no lesser class than this CPU's")
    try:
        (path,) = build_libraries(tmp_path, ["x86-64-v2"])
    except MissingExtraError as error:
        pytest.skip(str(error))
    with use_library(path):
        session = InferenceSession(folder / "model.onnx")
    steps = [step for step in session.get_steps() if step.kind == "binary"]
    assert {step.kernel for step in steps} == {"ctp"}
    (here,) = _answers(None, folder)
    (ahead,) = _answers(path, folder)
    np.testing.assert_array_equal(ahead, here)


def _answers(place: Path | None, folder: Path) -> list[Any]:
    with np.load(folder / "reference.npz") as reference, use_library(place):
        session = InferenceSession(folder / "model.onnx")
        answers: list[Any] = session.run(None, {session.get_inputs()[0].name: reference["inputs"]})
    return answers


def test_use_library_holds_within_its_block(built: Path) -> None:
    with use_library(built):
        inside = current_library()
        assert inside is not None
        assert inside.cpu_class == cpu_class()
        with use_library(None):
            assert current_library() is None
        assert current_library() is inside


def test_the_same_sources_give_the_same_bytes(built: Path, tmp_path: Path) -> None:
    (again,) = build_libraries(tmp_path, [built.stem])
    assert again.read_bytes() == built.read_bytes()


def test_the_digest_covers_all_that_kernels_import() -> None:
    """A change of a module that makes machine code must make libraries and caches stale."""
    reads = {module.name: {item.module for item in imports(module) if item.relative} for module in modules()}
    makers = {name for name, read in reads.items() if "runtime.kernels.llvm" in read}
    assert makers >= {f"runtime.kernels.{kernel.module}" for kernel in (*KERNELS, *SUMS, *SIGNED)}
    found, new = set[str](), makers
    while new:
        found |= new
        new = {read for name in new for read in reads[name]} - found
    missing = found - {f"runtime.{path.parent.name}.{path.stem}" for path in kernel_sources()}
    assert not missing, f"kernels are made by {sorted(missing)}, which machine/library.py leaves out of their digest"


def test_any_altered_byte_or_cut_is_refused(built: Path, tmp_path: Path) -> None:
    data, copy = built.read_bytes(), tmp_path / "kernels.so"
    for position in (0, 100, len(data) // 2, len(data) - 40, len(data) - 1):
        copy.write_bytes(data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :])
        with pytest.raises(ModelError, match=r"kernels\.so is no whole kernel library"):
            load_library(copy)
    for end in (0, 10, len(data) - 1):
        copy.write_bytes(data[:end])
        with pytest.raises(ModelError, match=r"kernels\.so is no whole kernel library"):
            load_library(copy)


def test_a_library_of_another_cpu_or_of_other_sources_is_refused(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(library, "cpu_classes", lambda: ("riscv64",))
        with pytest.raises(ModelError, match=f"is for {built.stem}, this CPU is riscv64"):
            load_library(built)
    monkeypatch.setattr(library, "source_digest", lambda: "0" * 64)
    with pytest.raises(ModelError, match="built from other kernel sources"):
        load_library(built)


def test_what_the_variable_names_is_used_or_refused_never_left_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(library, "_chosen", [])
    for place, words in ((tmp_path, "holds no library for this CPU"), (tmp_path / "none.so", "cannot read")):
        monkeypatch.setenv(VARIABLE, str(place))
        with pytest.raises(ModelError, match=words):
            current_library()
    monkeypatch.delenv(VARIABLE)
    assert current_library() is None


def test_an_unknown_class_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"known are {', '.join(CLASSES)}"):
        build_libraries(tmp_path, ["z80"])


def test_without_numba_and_without_a_library_one_line_says_what_to_do() -> None:
    code = (
        "import sys; sys.modules['numba'] = None; sys.modules['llvmlite'] = None\n"
        "from latentbit.runtime.__main__ import main; sys.exit(main(['check', sys.argv[1]]))"
    )
    environment = {key: value for key, value in os.environ.items() if key != VARIABLE}
    done = subprocess.run(
        [sys.executable, "-c", code, str(BUNDLE)], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert "pip install numba" in done.stderr
