"""The command ``init``."""

import shlex
from pathlib import Path

import click

from .starter import write_starter

__all__ = ["COMMANDS"]


@click.command("init")
@click.argument("folder", type=click.Path(path_type=Path), default="my_network")
def init_command(folder: Path) -> None:
    """Write a folder to start from: a network, data and a configuration of your own, which run at once.

    FOLDER is made if it is not there [default: my_network]; files that are there are never overwritten.

    \b
    Examples:
      pipeline init keywords
      pipeline run-all -c keywords/keywords.toml
    """
    config = write_starter(folder)
    click.echo(
        f"{folder}: network.py, data.py, {config.name}, README.md; now pipeline run-all -c {shlex.quote(str(config))}"
    )


COMMANDS = (init_command,)
"""Every command of this module, for the command line to take up."""
