"""Completion as bash does it: the script that latentbit prints, sourced and called in a real bash."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.shell_completion import FishComplete, ShellComplete, ZshComplete

from latentbit.pipeline.cli import cli
from latentbit.runtime.zoo.catalogue import names
from latentbit.training.settings import LATENT

ZOO = [f"zoo:{name}" for name in names()]
LINES = {
    "latentbit run-all --from exp": ["export"],
    "latentbit info zoo:dig": ["digits"],  # bash cuts words at the colon, and replaces what lies behind it
    "latentbit run-all -s train.epo": ["train.epochs="],
    "latentbit run-all -s train.latent=": list(LATENT),
    "latentbit ablate configs/digits.toml --variants none,L": ["none,L1", "none,L2", "none,L3"],
    "latentbit check demo.zip --trust": ["--trust-kernels"],
}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Return a folder with the program ``latentbit``."""
    program = tmp_path / "latentbit"
    program.write_text(f"#!{sys.executable}\nfrom latentbit.__main__ import main\n\nmain()\n")
    program.chmod(0o755)
    return tmp_path


@pytest.mark.timeout(300)
def test_bash_completes(place: Path) -> None:
    if shutil.which("bash") is None:
        pytest.skip("no bash here")
    lines = ["compopt() { :; }", 'eval "$(_LATENTBIT_COMPLETE=bash_source latentbit)"']
    for line in LINES:
        lines += [
            f"COMP_LINE='{line}' COMP_POINT={len(line)} _latentbit_completion latentbit",
            'echo "${COMPREPLY[*]}"',
        ]
    environment = os.environ | {
        "PATH": f"{place}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    done = subprocess.run(["bash", "-c", "\n".join(lines)], capture_output=True, text=True, env=environment, check=True)
    assert done.stderr == ""
    found = {line: answer.split() for line, answer in zip(LINES, done.stdout.splitlines(), strict=True)}
    for line, wanted in LINES.items():
        assert found[line][: len(wanted)] == wanted, line


@pytest.mark.parametrize(
    ("words", "begun", "wanted"),
    [
        ([], "bui", ["build-kernels"]),
        (["zoo"], "dig", ["digits"]),
        (["run-all", "-s"], "fold.int8_weights=t", ["fold.int8_weights=true"]),
        (["bench", "zoo:digits"], "--thr", ["--threads"]),
    ],
)
def test_what_is_completed(words: list[str], begun: str, wanted: list[str]) -> None:
    complete = ZshComplete(cli, {}, "latentbit", "_LATENTBIT_COMPLETE")
    assert [item.value for item in complete.get_completions(words, begun)] == wanted


@pytest.mark.parametrize("shell", [ZshComplete, FishComplete])
def test_other_shells_get_a_script_and_whole_words(shell: type[ShellComplete]) -> None:
    complete = shell(cli, {}, "latentbit", "_LATENTBIT_COMPLETE")
    assert "_LATENTBIT_COMPLETE" in complete.source()
    offered = [item.value for item in complete.get_completions(["inspect"], "zoo:")]
    assert offered == ZOO
    assert [item.type for item in complete.get_completions(["inspect"], "runs/")] == ["file"]


def test_every_argument_that_is_a_model_completes_the_zoo() -> None:
    complete = ZshComplete(cli, {}, "latentbit", "_LATENTBIT_COMPLETE")
    for name, command in cli.commands.items():
        for parameter in command.params:
            if isinstance(parameter, click.Argument) and parameter.name in ("model", "source"):
                assert [item.value for item in complete.get_completions([name], "zoo:")] == ZOO, name
