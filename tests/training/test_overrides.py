"""``-s SECTION.KEY=VALUE`` and configuration files, read in one place for both commands."""

from pathlib import Path
from typing import Any

import pytest

from latentbit.runtime.errors import ConfigError
from latentbit.training.__main__ import main
from latentbit.training.overrides import read_override, read_toml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("train.model=resnet20", "resnet20"),
        ("train.model='a b'", "a b"),
        ("train.model=3", "3"),
        ("train.model=net:build", "net:build"),
        ("train.epochs=3", 3),
        ("train.minutes=8.5", 8.5),
        ("train.compile=true", True),
        ("train.epochs=three", "three"),
        ("train.other=[1, 2]", [1, 2]),
    ],
)
def test_a_value_is_toml_and_a_bare_word_a_string(text: str, value: Any) -> None:
    found = read_override(text, lambda section, key: str if (section, key) == ("train", "model") else None)
    assert found == ("train", text.partition("=")[0].partition(".")[2], value)


@pytest.mark.parametrize("text", ["train", "train=3", "epochs=3", "train.epochs"])
def test_another_form_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"-s .*: write SECTION\.KEY=VALUE"):
        read_override(text, lambda section, key: None)


def test_a_file_that_cannot_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError, match="cannot read the configuration"):
        read_toml(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("[train")
    with pytest.raises(ConfigError, match="is not valid TOML"):
        read_toml(tmp_path / "bad.toml")
    (tmp_path / "odd.toml").write_text("train = 3")
    assert main([str(tmp_path / "odd.toml"), "-o", str(tmp_path / "run")]) == 2
    assert "must be a section: write [train]" in capsys.readouterr().err
    (tmp_path / "fine.toml").write_text("[train]\n")
    assert main([str(tmp_path / "fine.toml"), "-o", str(tmp_path / "run"), "-s", "check.latency_runs=3"]) == 2
    assert "write train.KEY=VALUE" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
