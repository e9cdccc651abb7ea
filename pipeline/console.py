"""How the commands speak: their class, which gives each of them ``--json`` and examples, and the console."""

from collections.abc import Sequence
from typing import Any

import click
from rich.console import Console

from ..runtime.terminal import Answer

__all__ = ["Command", "note", "open_console"]

_LOG_WIDTH = 160
_JSON = "latentbit.json"


class Command(click.Command):
    """A command that returns an :class:`Answer`, which it prints for people or, with ``--json``, as JSON.

    ``examples`` stand at the end of its help, each without the program's name. ``resumes``: the same command goes on
    where the user stopped it. ``judges``: its exit code is a verdict, which somebody has to hear.
    """

    def __init__(
        self, *args: Any, examples: Sequence[str] = (), resumes: bool = False, judges: bool = False, **settings: Any
    ) -> None:
        super().__init__(*args, **settings)
        self.examples, self.resumes, self.judges = tuple(examples), resumes, judges
        self.params.append(click.Option(["--json", "as_json"], is_flag=True, help="Print JSON."))

    def invoke(self, ctx: click.Context) -> None:
        """Perform the command and print its answer."""
        as_json = bool(ctx.params.pop("as_json"))
        ctx.meta[_JSON] = as_json
        answer = super().invoke(ctx)
        assert isinstance(answer, Answer), f"{self.name} must return an Answer"
        answer.give(as_json)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples, which are not wrapped."""
        program = ctx.find_root().info_name
        with formatter.section("Examples"):
            for example in self.examples:
                formatter.write(f"{'':{formatter.current_indent}}{program} {example}\n")


class _Console(Console):
    """A console that tells its caller when nobody reads any more; rich's own ends the process with 1."""

    def on_broken_pipe(self) -> None:
        raise  # rich calls this where it has caught the error


def open_console() -> Console:
    """Return the console to print on: stdout, or stderr where stdout is kept for JSON.

    Where nobody watches it is wide enough for a digest or a reason in a table.
    """
    console = _Console(stderr=_answers_in_json())
    if not console.is_terminal:
        console.width = max(console.width, _LOG_WIDTH)
    return console


def note(text: str) -> None:
    """Print a line that is no part of the answer."""
    click.echo(text, err=_answers_in_json())


def _answers_in_json() -> bool:
    context = click.get_current_context(silent=True)
    return context is not None and bool(context.meta.get(_JSON))
