"""Verbs of a device in the same tree: the options that they have there, parsed by click."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from ..runtime.commands.verbs import VERBS, Option, Verb, perform
from ..runtime.zoo.catalogue import find_model
from .completion import MODEL, complete_list
from .console import Command

__all__ = ["BOARD", "COMMANDS"]


class _Text(click.ParamType):  # type: ignore[type-arg]
    """A value that a function makes of the text, with the function's own words where it cannot."""

    def __init__(self, read: Callable[[str], Any]) -> None:
        self.name, self._read = read.__name__, read

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return self._read(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class _BoardCommand(Command):
    """A verb of a device as a command."""

    def __init__(self, verb: Verb) -> None:
        params = [_parameter(option) for option in verb.options]
        super().__init__(verb.name, params=params, help=verb.help, examples=verb.examples, judges=verb.judges)
        self.verb = verb

    def invoke(self, ctx: click.Context) -> None:
        """Perform the verb and print its answer."""
        as_json = bool(ctx.params.pop("as_json"))
        perform(self.verb, ctx.params, as_json=as_json)


def _parameter(option: Option) -> click.Parameter:
    kind: Any = _Text(option.type)
    if option.type is find_model:
        kind = MODEL
    elif option.type is Path:
        kind = click.Path(path_type=Path)
    if not option.name.startswith("-"):
        return click.Argument([option.name], type=kind, nargs=-1 if option.many else 1)
    names = [option.name, option.dest, *([option.short] if option.short else [])]
    if option.type is bool:
        return click.Option(names, is_flag=True, help=option.help)
    shown = option.default is not None
    return click.Option(
        names,
        type=kind,
        default=option.default,
        metavar=option.metavar,
        help=option.help,
        show_default=shown,
        shell_complete=complete_list(option.names) if option.names else None,
    )


BOARD = {verb.name: _BoardCommand(verb) for verb in VERBS}
"""The command of each verb of a device. ``run`` and ``check`` are stages too, :mod:`.cli` tells them apart."""

COMMANDS = tuple(command for name, command in BOARD.items() if name not in ("run", "check"))
"""Every other command of this module, for the command line to take up."""
