"""What the tests on emulated machines share: the machines, our package for them, and the stored bundles."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import latentbit
from latentbit.runtime.kernels.build import build_libraries

from .board import Board, NoBoardError, build_board, old_x86

TESTS = Path(__file__).resolve().parents[1]
BUNDLES = (TESTS / "data" / "digits.zip", TESTS / "data" / "exact.zip")
CASES = TESTS / "conformance" / "cases"


def _machine(build: Callable[[], Board]) -> Board:
    try:
        return build()
    except NoBoardError as error:
        if os.environ.get("LATENTBIT_REQUIRE_BOARD"):
            raise
        pytest.skip(f"no emulated machine: {error}")


@pytest.fixture(scope="session")
def aarch64() -> Board:
    """Return the emulated aarch64 board; skips with the reason where it cannot be built."""
    return _machine(build_board)


@pytest.fixture(scope="session")
def nehalem() -> Board:
    """Return this machine's Python on an emulated x86-64 without AVX2; skips with the reason."""
    return _machine(old_x86)


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with nothing in it but our package, as a wheel installs it."""
    source, target = Path(latentbit.__file__).parent, tmp_path_factory.mktemp("package")
    for wing in ("runtime", "export", "training", "pipeline"):
        shutil.copytree(source / wing, target / "latentbit" / wing, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("__init__.py", "__main__.py"):
        shutil.copy(source / name, target / "latentbit" / name)
    return target


@pytest.fixture(scope="session")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the kernel libraries of the emulated machines, compiled and linked on this one."""
    folder = tmp_path_factory.mktemp("kernels")
    build_libraries(folder, ["aarch64", "x86-64-v2"])
    return folder
