"""Verbs of a device in the same tree: ``classify``, ``info`` and ``profile``, with the options that they have there."""

import click

__all__ = ["COMMANDS"]

_HELP = {
    "classify": "Name what is on image files: latentbit classify zoo:digits",
    "info": "Tell what of a model runs packed on which kernel here, what runs float, and why.",
    "profile": "Tell how long each step of a model takes here.",
}


def _verb(name: str, help_text: str) -> click.Command:
    @click.command(name, short_help=help_text, add_help_option=False, context_settings={"ignore_unknown_options": True})
    @click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
    def command(arguments: tuple[str, ...]) -> None:
        from ..runtime.__main__ import main

        raise SystemExit(main([name, *arguments], program="latentbit"))

    command.help = help_text
    return command


COMMANDS = tuple(_verb(name, text) for name, text in _HELP.items())
"""Every command of this module, for the command line to take up."""
