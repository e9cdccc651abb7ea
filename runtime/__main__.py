"""The commands of a device: ``python -m latentbit.runtime VERB``, for the verbs of :mod:`.commands.verbs`.

Exit code 0: passed; 1: failed (an accuracy out of tolerance included); 2: wrong usage; 130: stopped by Ctrl-C. An
expected error is one line.
"""

import argparse
import sys
import textwrap
from collections.abc import Callable, Sequence
from typing import Any

from .commands.verbs import VERBS, Option, Verb, perform
from .errors import LatentbitError
from .terminal import drop_output, output_errors, plain_output

__all__ = ["main", "make_parser"]


def main(arguments: Sequence[str] | None = None, program: str = "python -m latentbit.runtime") -> int:
    """Run one command and return the exit code; help calls it ``program``."""
    plain_output()
    judges = False
    try:
        options = vars(
            make_parser(program).parse_args(arguments)
        )  # a model of the zoo is looked up, and may be refused
        verb, as_json = options.pop("verb"), options.pop("json")
        judges = verb.judges
        with output_errors():
            perform(verb, options, as_json=as_json)
    except LatentbitError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130
    except BrokenPipeError:  # whoever read our output, ``head`` for one, has enough
        drop_output()
        return int(judges)  # a verdict that nobody heard is no success
    return 0


def make_parser(program: str) -> argparse.ArgumentParser:
    """Return the parser of all verbs; what it parses has the verb as ``verb``, ``json``, and the verb's options."""
    parser = argparse.ArgumentParser(
        prog=program, description="Run packed binary networks.", epilog=f"{program} VERB --help shows examples."
    )
    commands = parser.add_subparsers(required=True, metavar="VERB")
    for verb in VERBS:
        _add(commands.add_parser, verb, program)
    return parser


def _add(add_parser: Callable[..., argparse.ArgumentParser], verb: Verb, program: str) -> None:
    examples = "\n".join(["examples:", *(f"  {program} {example}" for example in verb.examples)])
    formatter = argparse.RawDescriptionHelpFormatter
    command = add_parser(
        verb.name, help=verb.help, description=textwrap.fill(verb.help, 78), epilog=examples, formatter_class=formatter
    )
    for option in verb.options:
        _add_option(command, option)
    command.add_argument("--json", action="store_true", help="Print JSON.")
    command.set_defaults(verb=verb)


def _add_option(command: argparse.ArgumentParser, option: Option) -> None:
    names = (option.short, option.name) if option.short else (option.name,)
    if option.type is bool:
        command.add_argument(*names, action="store_true", help=option.help)
        return
    settings: dict[str, Any] = {"type": _reader(option), "help": option.help}
    if option.name.startswith("-"):
        settings |= {"metavar": option.metavar, "default": option.default}
        settings["help"] += "" if option.default is None else f" [default: {option.default}]"
    if option.many:
        settings["nargs"] = "*"
    command.add_argument(*names, **settings)


def _reader(option: Option) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        try:
            return option.type(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return read


if __name__ == "__main__":
    sys.exit(main())
