"""The kinds of ARM core, as the system tells them."""

import platform
from pathlib import Path

import pytest

from latentbit.runtime.machine.cores import cpu_cores, read_cores

LISTING = """processor\t: 0
CPU implementer\t: 0x41
CPU part\t: 0xd05

processor\t: 4
CPU implementer\t: 0x41
CPU part\t: 0xd0b
"""


def write(folder: Path, index: int, register: str) -> None:
    path = folder / f"cpu{index}" / "regs" / "identification"
    path.mkdir(parents=True)
    (path / "midr_el1").write_text(register)


def test_the_register_of_every_cpu(tmp_path: Path) -> None:
    for index, register in enumerate(["0x00000000410fd034\n", "0x00000000410fd034\n", "0x00000000410fd083\n"]):
        write(tmp_path, index, register)
    assert read_cores(tmp_path, tmp_path / "none") == {"cortex-a53", "cortex-a72"}


def test_the_listing_where_there_are_no_registers(tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text(LISTING)
    assert read_cores(tmp_path, tmp_path / "cpuinfo") == {"cortex-a55", "cortex-a76"}


def test_a_core_without_a_name(tmp_path: Path) -> None:
    write(tmp_path, 0, "0x00000000610f0221")
    assert read_cores(tmp_path, tmp_path / "none") == {"arm-0x61-0x22"}


@pytest.mark.parametrize("text", ["", "no number", "model name\t: AMD EPYC\n", "CPU part\t: 0xd08\n"])
def test_what_tells_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "cpuinfo").write_text(text)
    write(tmp_path, 0, text)
    assert read_cores(tmp_path, tmp_path / "cpuinfo") == frozenset()
    assert read_cores(tmp_path / "none", tmp_path / "none") == frozenset()


@pytest.mark.skipif(platform.machine() != "x86_64", reason="an ARM machine may tell its cores")
def test_an_x86_has_none() -> None:
    assert cpu_cores() == frozenset()
