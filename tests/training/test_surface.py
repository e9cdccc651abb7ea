"""What ``latentbit.training`` hands on, and that a table and the option that chooses from it agree."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from latentbit import training
from latentbit.training.settings import Settings, table_of

PAGES = sorted((Path(__file__).resolve().parents[2] / "docs").glob("*.md"))


def test_completion_shows_every_public_name() -> None:
    assert set(training.__all__) <= set(dir(training))
    assert all(hasattr(training, name) for name in training.__all__)


def test_the_documentation_needs_no_deeper_import() -> None:
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert re.findall(r"^\s*from (latentbit\.training\.\S+) import", text, re.MULTILINE) == []
    taken = re.findall(r"^\s*from latentbit\.training import (.+)$", text, re.MULTILINE)
    assert taken
    assert {name.strip() for line in taken for name in line.split(",")} <= set(training.__all__)


def test_options_are_read_without_torch() -> None:
    code = "import sys, latentbit.training.settings; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.parametrize("rows", [{"identity": 1, "hardtanh": 2}, {"identity": 1, "hardtanh": 2, "sign": 3, "relu": 4}])
def test_a_table_holds_what_the_option_takes(rows: dict[str, int]) -> None:
    with pytest.raises(AssertionError, match=r"Settings\.phi takes \('identity', 'hardtanh', 'sign'\)"):
        table_of("phi", rows)


def test_a_table_is_read_only() -> None:
    table = table_of("phi", {name: name for name in ("sign", "identity", "hardtanh")})
    assert dict(table) == {"sign": "sign", "identity": "identity", "hardtanh": "hardtanh"}
    with pytest.raises(TypeError):
        table["relu"] = "relu"  # type: ignore[index]


@pytest.mark.parametrize("value", [float("nan"), -0.1, 1.0])
def test_no_number_breaks_a_rule(value: float) -> None:
    from latentbit.runtime.errors import ConfigError

    with pytest.raises(ConfigError, match=r"train.ema must lie in \[0, 1\)"):
        Settings(ema=value)
