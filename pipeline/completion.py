"""What a shell completes: models of the zoo, keys of the configuration, their values, variants, names in a list.

``_LATENTBIT_COMPLETE=bash_source latentbit`` prints the script for a shell, see docs/pipeline.md. click's own script
for bash takes the words as bash cuts them, also at ``:`` and ``=``; the one here reads the whole line.
"""

import dataclasses
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar, get_type_hints

import click
from click.shell_completion import BashComplete, CompletionItem, add_completion_class, split_arg_string

from ..runtime.zoo.catalogue import PREFIX, find_model, names
from ..training.names import NAMES
from ..training.settings import LATENT, Settings
from ..training.studies.presets import PRESETS
from .sections import Config

__all__ = ["MODEL", "complete_list", "complete_names", "complete_variants", "set_option"]

Complete = Callable[[click.Context, click.Parameter, str], list[str]]

Decorated = TypeVar("Decorated", bound=Callable[..., Any] | click.Command)

_CUT = ":="
"""Where bash cuts words; what stands before the last cut must not be repeated in a completion."""


class _Bash(BashComplete):
    source_template = """\
%(complete_func)s() {
    local IFS=$'\\n' response
    response=$(env COMP_LINE="$COMP_LINE" COMP_POINT="$COMP_POINT" %(complete_var)s=bash_complete $1)
    COMPREPLY=()
    for completion in $response; do
        IFS=',' read -r type value <<< "$completion"
        if [[ $type == dir ]]; then compopt -o dirnames
        elif [[ $type == file ]]; then compopt -o default
        else COMPREPLY+=("$value")
        fi
    done
    [[ ${COMPREPLY[*]} == *= || ${COMPREPLY[*]} == *: ]] && compopt -o nospace
    return 0
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""

    def get_completion_args(self) -> tuple[list[str], str]:
        line = os.environ["COMP_LINE"][: int(os.environ["COMP_POINT"])]
        words = split_arg_string(line)
        incomplete = "" if line[-1:].isspace() else words.pop()
        return words[1:], incomplete

    def format_completion(self, item: CompletionItem) -> str:
        _, incomplete = self.get_completion_args()
        cut = max(incomplete.rfind(sign) for sign in _CUT) + 1
        value = item.value if item.type != "plain" else item.value[cut:]
        return f"{item.type},{value}"


add_completion_class(_Bash)


class _Model(click.ParamType):  # type: ignore[type-arg]
    """A file, or ``zoo:NAME``."""

    name = "model"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path of the model. Raises :class:`ModelError` for a name that is not in the zoo."""
        return find_model(value)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Return the models of the zoo that begin so, and let the shell add files."""
        found = [CompletionItem(PREFIX + name) for name in names() if (PREFIX + name).startswith(incomplete)]
        return found if incomplete.startswith(PREFIX) else [*found, CompletionItem(incomplete, type="file")]


MODEL = _Model()
"""The type of an argument that is a model."""


def complete_names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Return the models of the zoo that begin so."""
    return [name for name in names() if name.startswith(incomplete)]


def complete_list(known: Iterable[str]) -> Complete:
    """Return what completes a list of these names with commas: by each that is not in it yet."""
    offered = tuple(known)

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
        before, comma, last = incomplete.rpartition(",")
        return [f"{before}{comma}{name}" for name in offered if name.startswith(last) and name not in before.split(",")]

    return complete


def set_option(help: str) -> Callable[[Decorated], Decorated]:
    """Return the option by which a command takes single values of a configuration, ``-s SECTION.KEY=VALUE``."""
    return click.option(
        "-s",
        "--set",
        "overrides",
        multiple=True,
        metavar="KEY=VALUE",
        shell_complete=_complete_override,
        help=help,
    )


def _complete_override(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Return ``SECTION.KEY=`` for every key that begins so; behind the ``=`` its values, where they have names."""
    kinds = get_type_hints(Config)
    keys = {f"{section}.{field.name}": field for section, kind in kinds.items() for field in dataclasses.fields(kind)}
    return _assignments(keys, incomplete)


def _assignments(keys: Mapping[str, "dataclasses.Field[Any]"], incomplete: str) -> list[str]:
    key, written, _ = incomplete.partition("=")
    if not written:
        return [f"{name}=" for name in keys if name.startswith(incomplete)]
    values = _values(keys[key]) if key in keys else ()
    return [value for value in (f"{key}={one}" for one in values) if value.startswith(incomplete)]


def _values(field: "dataclasses.Field[Any]") -> Sequence[str]:
    if field.type in (bool, "bool"):
        return ("true", "false")
    return tuple(field.metadata.get("choices", NAMES.get(field.name, ())))


def complete_variants(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Return what a list of variants can go on with: a variant, a study, or a setting behind ``VARIANT:``."""
    sign = ";" if ";" in incomplete else ","
    before, found, last = incomplete.rpartition(sign)
    variant, colon, settings = last.partition(":")
    if colon:
        done, comma, setting = settings.rpartition(",")
        begun = f"{before}{found}{variant}:{done}{comma}"
        keys = {field.name: field for field in dataclasses.fields(Settings)}
        return [begun + one for one in _assignments(keys, setting)]
    return [f"{before}{found}{name}" for name in (*LATENT, *PRESETS) if name.startswith(last)]
