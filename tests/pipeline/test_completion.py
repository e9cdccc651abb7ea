"""Completion as bash does it: the script that latentbit prints, sourced and called in a real bash."""

import dataclasses
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
from latentbit.training.names import NAMES
from latentbit.training.settings import FOLDER, LATENT, Settings
from latentbit.training.studies.presets import PRESETS

ZOO = [f"zoo:{name}" for name in names()]
LINES = {
    "latentbit run-all --from exp": ["export"],
    "latentbit info zoo:dig": ["digits"],  # bash cuts words at the colon, and replaces what lies behind it
    "latentbit run-all -s train.epo": ["train.epochs="],
    "latentbit run-all -s train.latent=": list(LATENT),
    "latentbit ablate configs/digits.toml --variants none,L": ["none,L1", "none,L2", "none,L3"],
    "latentbit ablate configs/digits.toml --variants ": [*LATENT, *PRESETS],
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
        (["bench", "zoo:digits", "--peers"], "onnxruntime,o", ["onnxruntime,onnxruntime-int8", "onnxruntime,openvino"]),
        (["bundle", "runs/digits", "--target"], "x86-64-v4,a", ["x86-64-v4,aarch64-dotprod", "x86-64-v4,aarch64"]),
        (["build-kernels", "--target"], "x86-64-v4,x86-64-v3,x", ["x86-64-v4,x86-64-v3,x86-64-v2"]),
        (["run-all", "-s"], "train.stem=c", ["train.stem=cheap", "train.stem=cifar"]),
        (["run-all", "-s"], "train.compile=", ["train.compile=true", "train.compile=false"]),
        (["run-all", "-s"], "train.nothing=", []),
        (["ablate", "configs/digits.toml", "--variants"], "rep", ["repairs"]),
        (["ablate", "configs/digits.toml", "--variants"], "none;b", ["none;blocks"]),
        (["ablate", "configs/digits.toml", "--variants"], "none;L1:mu=2,ph", ["none;L1:mu=2,phi="]),
        (["ablate", "configs/digits.toml", "--variants"], "none,L1:phi=h", ["none,L1:phi=hardtanh"]),
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


def test_names_of_training_are_those_of_its_tables() -> None:
    from latentbit.training.data.augment import AUGMENTATIONS
    from latentbit.training.data.catalogue import LOADERS
    from latentbit.training.layers.estimators import ESTIMATORS
    from latentbit.training.layers.regularisers import REGULARISERS
    from latentbit.training.models.blocks import DOWNSAMPLES, NORMS, STEMS
    from latentbit.training.models.catalogue import MODELS
    from latentbit.training.models.kinds import BLOCKS

    tables = {
        "activation_estimator": ESTIMATORS, "augment": AUGMENTATIONS, "block": BLOCKS, "data": {*LOADERS, FOLDER},
        "device": {"auto", "cpu", "cuda"}, "downsample": DOWNSAMPLES, "model": MODELS, "norm": NORMS, "stem": STEMS,
        "weight_estimator": ESTIMATORS, "weight_regulariser": REGULARISERS,
    }  # fmt: skip
    assert {option: tuple(sorted(table)) for option, table in tables.items()} == NAMES
    free = {field.name for field in dataclasses.fields(Settings) if "choices" not in field.metadata}
    assert set(NAMES) <= free, "an option that takes nothing else has choices, and needs no list beside them"


def test_every_value_that_has_names_is_completed() -> None:
    """An option whose help lists names to choose from by commas completes the first of them."""
    complete = ZshComplete(cli, {}, "latentbit", "_LATENTBIT_COMPLETE")
    listed = [
        (name, parameter.opts[0])
        for name, command in cli.commands.items()
        for parameter in command.params
        if isinstance(parameter, click.Option) and "y commas" in (parameter.help or "")
        if parameter.name != "threads"
    ]
    assert len(listed) == 3
    for name, option in listed:
        assert complete.get_completions([name, option], ""), (name, option)


def test_completing_imports_no_torch() -> None:
    code = "import sys, latentbit.pipeline.cli\nassert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
