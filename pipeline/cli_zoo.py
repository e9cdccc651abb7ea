"""The command on the zoo: ``zoo`` lists the models that ship with the package, or shows the card of one."""

from dataclasses import asdict
from pathlib import Path

import click
from rich.table import Table

from ..runtime.terminal import Answer
from ..runtime.zoo.catalogue import Card, card, names, path
from .cards import OVERVIEW, card_rows, overview_row
from .completion import complete_names
from .console import Command, open_console

__all__ = ["COMMANDS"]


@click.command("zoo", cls=Command, examples=("zoo", "zoo digits --json"))
@click.argument("name", required=False, shell_complete=complete_names)
def zoo_command(name: str | None) -> Answer:
    """List the trained models that ship with the package, or show the card of one.

    Commands that read a model take zoo:NAME in the place of a path.
    """
    if name is None:
        cards = [card(known) for known in names()]
        return Answer({"models": [asdict(each) for each in cards]}, lambda: _print_list(cards))
    found, file = card(name), path(name)
    return Answer({**asdict(found), "path": str(file)}, lambda: _print_card(found, file))


COMMANDS = (zoo_command,)
"""Every command of this module, for the command line to take up."""


def _print_list(cards: list[Card]) -> None:
    table = Table(title="zoo")
    for column in OVERVIEW:
        table.add_column(column, justify="right" if column in ("accuracy", "size") else "left", overflow="fold")
    for each in cards:
        table.add_row(*overview_row(each))
    open_console().print(table, markup=False)


def _print_card(found: Card, file: Path) -> None:
    table = Table(title=found.name, show_header=False)
    table.add_column()
    table.add_column(overflow="fold")
    for row in [*card_rows(found), ("file", str(file))]:
        table.add_row(*row)
    open_console().print(table, markup=False)
