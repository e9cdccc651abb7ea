"""The cache of kernels compiled here: it spares numba, and whatever it holds, the answers are right."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from latentbit.runtime.machine.library import VARIABLE

BUNDLE = Path(__file__).resolve().parents[2] / "data" / "digits.zip"
KEY = "latentbit/kernels/key"
CODE = (
    "import sys; from latentbit.runtime.__main__ import main\n"
    "code = main(['check', sys.argv[1], '--json', '--oracle-samples', '2', '--latency-runs', '3'])\n"
    "print('numba' in sys.modules, file=sys.stderr); sys.exit(code)"
)


def start(cache: Path, **variables: str) -> "subprocess.Popen[str]":
    """Start a check of the digits whose kernels lie in this cache."""
    environment = {key: value for key, value in os.environ.items() if key != VARIABLE}
    environment |= {"NUMBA_CACHE_DIR": str(cache), **variables}
    pipes: Mapping[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, "-c", CODE, str(BUNDLE)], env=environment, **pipes)


def finish(process: "subprocess.Popen[str]") -> str:
    """Wait for a check, which must pass, and return its stderr: whether numba was imported, after any warnings."""
    out, err = process.communicate()
    assert process.returncode == 0, err
    report = json.loads(out)
    assert (report["passed"], report["jit"], report["kernel_library"]) == (True, True, None)
    return err


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Return what lies in a cache that two processes filled at the same time, by name: the objects and the key."""
    cache = tmp_path_factory.mktemp("kernels")
    for process in [start(cache), start(cache)]:
        assert finish(process) == "True\n"
    assert not list(cache.rglob("*.part*"))
    return {str(path.relative_to(cache)): path.read_bytes() for path in files(cache)}


def files(cache: Path) -> list[Path]:
    return [path for path in cache.rglob("*") if path.is_file()]


def fill(cache: Path, objects: Mapping[str, bytes]) -> None:
    for name, data in objects.items():
        (cache / name).parent.mkdir(parents=True, exist_ok=True)
        (cache / name).write_bytes(data)
        (cache / name).chmod(0o600)


def test_a_warm_cache_spares_numba(warm: dict[str, bytes], tmp_path: Path) -> None:
    """CPU and compilers are in a name: an object of others is not looked at."""
    foreign = {f"{name.rpartition('-')[0]}-{'0' * 16}.o": b"of another machine" for name in warm if name != KEY}
    fill(tmp_path, warm | foreign)
    assert finish(start(tmp_path)) == "False\n"
    assert {str(path.relative_to(tmp_path)) for path in files(tmp_path)} == {*warm, *foreign}


def test_a_damaged_object_is_made_anew(warm: dict[str, bytes], tmp_path: Path) -> None:
    def damaged(index: int, data: bytes) -> bytes:
        middle = len(data) // 2
        altered = data[:middle] + bytes([data[middle] ^ 255]) + data[middle + 1 :]
        return (data[:middle], b"", altered)[index % 3]

    objects = sorted(set(warm) - {KEY})
    assert len(objects) >= 3
    fill(tmp_path, {KEY: warm[KEY]} | {name: damaged(index, warm[name]) for index, name in enumerate(objects)})
    assert finish(start(tmp_path)) == "True\n"
    assert finish(start(tmp_path)) == "False\n"


def test_a_cache_that_cannot_be_written_costs_time_alone(tmp_path: Path) -> None:
    place = tmp_path / "file"
    place.write_text("in the way of a folder")
    err = finish(start(place))
    assert "kernels are compiled again at each start: cannot write" in err
    assert err.endswith("True\n")
