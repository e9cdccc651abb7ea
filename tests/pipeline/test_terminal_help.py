"""The help of every command has examples, each of which is parsed for real, and fits 80 columns."""

import io
import shlex
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from latentbit.pipeline import config as configuration
from latentbit.pipeline.cli import cli
from latentbit.pipeline.console import Command
from latentbit.runtime.__main__ import make_parser
from latentbit.runtime.commands.verbs import VERBS
from latentbit.runtime.terminal import plain_output

CHECKOUT = Path(__file__).parents[2]
COMMANDS = {name: command for name, command in cli.commands.items() if isinstance(command, Command)}


def example_lines(text: str) -> list[str]:
    """Return the examples at the end of a help text."""
    return [line.strip() for line in text.lower().split("\nexamples:\n", 1)[1].splitlines() if line.strip()]


def parsed(words: list[str]) -> click.Context:
    """Parse a command line as the program does, types and all, and run nothing."""
    context = click.Context(cli, info_name="latentbit")
    name, command, rest = cli.resolve_command(context, words)
    assert name is not None
    assert command is not None
    return command.make_context(name, rest, parent=context)


def test_every_command_is_of_the_class_that_has_json_and_examples() -> None:
    assert set(COMMANDS) == set(cli.commands)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_help_has_examples_and_fits_80_columns(name: str) -> None:
    shown = CliRunner().invoke(cli, [name, "--help"], prog_name="latentbit", env={"COLUMNS": "200"})
    assert shown.exit_code == 0
    assert max(map(len, shown.output.splitlines())) <= 80
    lines = example_lines(shown.output)
    assert lines
    assert all(line.startswith("latentbit ") for line in lines)


@pytest.mark.parametrize("example", sorted({one for command in COMMANDS.values() for one in command.examples}))
def test_an_example_is_parsed(example: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(CHECKOUT)
    context = parsed(shlex.split(example))
    configuration.read(None, context.params.get("overrides", ()))
    for key in ("config", "config_path"):
        path = context.params.get(key)
        assert path is None or path.exists() or path.parts[0] in ("mine", "keywords"), f"{path}: no such recipe"


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.name)
def test_help_on_a_device_has_examples_too(
    verb: object, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(verb, type(VERBS[0]))
    monkeypatch.setenv("COLUMNS", "80")
    parser = make_parser("latentbit")
    with pytest.raises(SystemExit):
        parser.parse_args([verb.name, "--help"])
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 80
    assert len(example_lines(shown)) == len(verb.examples) > 0
    for example in verb.examples:
        words = shlex.split(example)
        options = vars(parser.parse_args(words))
        assert options.pop("verb") is verb
        ours = parsed(words).params
        theirs = {key: tuple(value) if isinstance(value, list) else value for key, value in options.items()}
        assert ours.pop("as_json") == theirs.pop("json")
        assert ours == theirs, "click and argparse read the same command line in the same way"


def test_a_wrong_example_is_refused() -> None:
    with pytest.raises(click.NoSuchOption):
        parsed(["bench", "zoo:digits", "--trheads", "2"])


def test_an_ascii_terminal_gets_similar_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    plain_output()
    sys.stdout.write("12 µs, 3×3 ± 1 … 語\n")
    sys.stdout.flush()
    assert raw.getvalue() == b"12 us, 3x3 +- 1 ... ?\n"
