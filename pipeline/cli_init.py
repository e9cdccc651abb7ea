"""The command ``init``."""

import shlex
from pathlib import Path

import click

from ..runtime.terminal import Answer
from .console import Command
from .starter import write_starter

__all__ = ["COMMANDS"]


@click.command("init", cls=Command, examples=("init keywords", "run-all -c keywords/keywords.toml"))
@click.argument("folder", type=click.Path(path_type=Path), default="my_network")
def init_command(folder: Path) -> Answer:
    """Write a folder to start from: a network, data and a configuration of your own, which run at once.

    FOLDER is made if it is not there [default: my_network]; files that are there are never overwritten.
    """
    config = write_starter(folder)
    command = f"latentbit run-all -c {shlex.quote(str(config))}"
    files = ["network.py", "data.py", config.name, "README.md"]

    def show() -> None:
        click.echo(f"{folder}: {', '.join(files)}; now {command}")

    return Answer({"folder": str(folder), "files": files, "next": command}, show)


COMMANDS = (init_command,)
"""Every command of this module, for the command line to take up."""
