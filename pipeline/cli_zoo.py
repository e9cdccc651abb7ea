"""The command on the zoo: ``zoo`` lists the models that ship with the package, or shows the card of one."""

import json
from dataclasses import asdict
from pathlib import Path

import click
from rich.table import Table

from ..runtime.zoo.catalogue import Card, card, names, path
from .cards import OVERVIEW, card_rows, overview_row
from .console import open_console

__all__ = ["COMMANDS"]


@click.command("zoo")
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def zoo_command(name: str | None, as_json: bool) -> None:
    """List the trained models that ship with the package, or show the card of one.

    Commands that read a model take zoo:NAME in the place of a path.
    """
    if name is None:
        _list([card(known) for known in names()], as_json)
    else:
        _show(card(name), path(name), as_json)


COMMANDS = (zoo_command,)
"""Every command of this module, for the command line to take up."""


def _list(cards: list[Card], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps([asdict(each) for each in cards], indent=2, ensure_ascii=False))
        return
    table = Table(title="zoo")
    for column in OVERVIEW:
        table.add_column(column, justify="right" if column in ("accuracy", "size") else "left", overflow="fold")
    for each in cards:
        table.add_row(*overview_row(each))
    open_console().print(table, markup=False)


def _show(found: Card, file: Path, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({**asdict(found), "path": str(file)}, indent=2, ensure_ascii=False))
        return
    table = Table(title=found.name, show_header=False)
    table.add_column()
    table.add_column(overflow="fold")
    for row in [*card_rows(found), ("file", str(file))]:
        table.add_row(*row)
    open_console().print(table, markup=False)
