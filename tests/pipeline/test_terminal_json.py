"""Every command prints JSON, and nothing but JSON, on stdout; its keys are those that docs/pipeline.md promises."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from latentbit.pipeline.cli import cli, main
from latentbit.pipeline.cli_board import BOARD
from latentbit.pipeline.stages import STAGES

CHECKOUT = Path(__file__).parents[2]
BUNDLE = str(CHECKOUT / "tests" / "data" / "digits.zip")
CONFIG = str(CHECKOUT / "configs" / "digits.toml")
QUICK = ["--oracle-samples", "2", "--latency-runs", "3"]

ARGUMENTS = {
    "ablate": [
        CONFIG,
        "-o",
        "{new}/study",
        "--seeds",
        "0",
        "--epochs-only",
        "-s",
        "train.epochs=1",
    ],
    "bench": ["zoo:digits", "--runs", "2"],
    "bundle": ["{run}", "-o", "{new}/demo.zip", "--samples", "20"],
    "card": ["{run}", "-o", "{new}/card", "--license", "apache-2.0"],
    "check BUNDLE": [BUNDLE, *QUICK],
    "classify": ["zoo:digits"],
    "convert": ["zoo:digits", "{new}/plain.onnx", "--inline"],
    "info": ["zoo:digits"],
    "init": ["{new}/mine"],
    "inspect": ["zoo:digits"],
    "profile": ["zoo:digits", "--runs", "2"],
    "run MODEL": ["zoo:digits", "{new}/images.npy"],
    "run-all": ["-o", "{run}"],
    "separability": ["{run}", "-o", "{new}/compared", "--images", "60"],
    "show": ["{run}"],
    "zoo": [],
    "zoo NAME": ["digits"],
    **{stage.name: ["{run}"] for stage in STAGES},
}
"""By what the page calls it, arguments with which a command answers in seconds."""


def documented() -> dict[str, set[str]]:
    """Return the keys of each answer, from the table of the page."""
    page = (CHECKOUT / "docs" / "pipeline.md").read_text(encoding="utf-8")
    section = page.split("## Answers as JSON", 1)[1].split("\n## ", 1)[0]
    rows = re.findall(r"^\| (`.+?) \| (.+?) \|", section, re.M)
    return {
        name: set(re.findall(r"`([^`]+)`", keys)) for names, keys in rows for name in re.findall(r"`([^`]+)`", names)
    }


KEYS = documented()


def test_every_command_of_the_tree_has_a_row_and_arguments() -> None:
    assert {name.split()[0] for name in KEYS} == set(cli.commands)
    assert set(KEYS) == set(ARGUMENTS) | {"build-kernels"}, "which compiles for half a minute: test_cli_devices.py"


@pytest.mark.parametrize("name", sorted(ARGUMENTS))
def test_an_answer_is_json_and_nothing_else(
    name: str, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if name == "card":
        pytest.importorskip("huggingface_hub", reason="needs the extra card")
    np.save(tmp_path / "images.npy", np.zeros((2, 1, 8, 8), np.float32))
    places = {"run": str(finished), "new": str(tmp_path)}
    words = [name.split()[0], *(word.format(**places) for word in ARGUMENTS[name]), "--json"]
    with pytest.raises(SystemExit) as ended:
        main(words)
    told = capsys.readouterr()
    assert ended.value.code == 0, told.err
    answer = json.loads(told.out)
    assert told.out.isascii()
    assert set(answer) == KEYS[name]


def test_commands_of_a_device_are_told_from_stages_by_what_they_are_given() -> None:
    context = cli.make_context("latentbit", ["show", "x"])
    for words, board in (
        (["check", BUNDLE], True),
        (["check", "runs/digits"], False),
        (["run", "zoo:digits", "images.npy"], True),
        (["run", "--threads", "2", "model.onnx", "images.npy"], True),
        (["run", "runs/digits", "-s", "run.threads=2"], False),
    ):
        name, command, _ = cli.resolve_command(context, words)
        assert name is not None
        assert (command is BOARD[name]) is board, words
