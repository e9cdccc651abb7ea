"""Commands on model files of any origin: ``convert`` and ``inspect``. The export wing is imported when one runs."""

import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click
from rich.table import Table

from ..runtime.terminal import Answer, working
from .completion import MODEL
from .console import Command, open_console

if TYPE_CHECKING:
    from ..export.importing.conversion import ConversionReport
    from ..export.importing.inspection import Inspection
    from .comparing import Comparison

__all__ = ["COMMANDS"]

_Side = Literal["left", "right"]
_LEFT: _Side = "left"
_RIGHT: _Side = "right"


@click.command(
    "convert",
    cls=Command,
    examples=(
        "convert brevitas.onnx packed.onnx",
        "convert model.onnx packed.onnx --sign-zero plus --json",
        "convert zoo:digits plain.onnx --inline --opset 18 --weights int8",
    ),
)
@click.argument("source", type=MODEL)
@click.argument("target", type=click.Path(path_type=Path))
@click.option(
    "--sign-zero",
    type=click.Choice(["keep", "plus", "minus"]),
    default="keep",
    show_default=True,
    help="What Sign gives for 0: its 0 (the layer behind it is not binary), or +1, or -1.",
)
@click.option(
    "--weight-only/--no-weight-only", default=True, help="Pack +-scale weights of layers with a real input too."
)
@click.option(
    "--straight-through", is_flag=True, help="Take hard - soft + soft as hard; the source differs in the last bits."
)
@click.option("--inline", is_flag=True, help="Write plain ONNX without functions, for tools that cannot handle them.")
@click.option("--opset", type=click.IntRange(14), help="Standard opset of the plain file (14 or later) [default: 18].")
@click.option(
    "--weights", type=click.Choice(["float", "int8", "packed"]), help="Weights in the plain file [default: float]."
)
@click.option(
    "--compare",
    "samples",
    type=click.IntRange(1),
    metavar="N",
    help="Run N random inputs through both files and count.",
)
def convert_command(
    source: Path,
    target: Path,
    sign_zero: Literal["keep", "plus", "minus"],
    weight_only: bool,
    straight_through: bool,
    inline: bool,
    opset: int | None,
    weights: Literal["float", "int8", "packed"] | None,
    samples: int | None,
) -> Answer:
    """Pack the binary layers of an ONNX file from elsewhere: QONNX (Brevitas) or plain ONNX.

    SOURCE (a file, or zoo:NAME) is read, TARGET is written, and every layer is listed: binary, weight-only or float,
    and why.
    """
    if not inline and (opset is not None or weights is not None):
        raise click.UsageError("--opset and --weights belong to --inline: a file with functions has its own")
    plain: dict[str, Any] = {"opset": opset} if opset is not None else {}
    plain |= {"weights": weights} if weights is not None else {}
    plain |= {"straight_through": straight_through, "inline": inline}
    with working(f"convert {source.name}"):
        from ..export.importing.conversion import convert

        report = convert(source, target, weight_only=weight_only, sign_zero=sign_zero, **plain)
        comparison = _compare(source, target, samples)

    def show() -> None:
        _print_conversion(report)
        _print_comparison(comparison)

    compared = {} if comparison is None else {"comparison": asdict(comparison)}
    return Answer(report.to_json() | compared, show)


@click.command(
    "inspect", cls=Command, examples=("inspect zoo:digits", "inspect model.onnx --shape input=1,3,224,224 --json")
)
@click.argument("model", type=MODEL)
@click.option(
    "--shape", "shapes", multiple=True, metavar="INPUT=N,C,H,W", help="Sizes of an input whose image size is symbolic."
)
def inspect_command(model: Path, shapes: tuple[str, ...]) -> Answer:
    """Show the layers of an ONNX file: packed or float and why, pad value, multiply-adds, bytes, and totals.

    MODEL is a file, or zoo:NAME.
    """
    sizes = dict(_read_shape(text) for text in shapes)
    with working(f"inspect {model.name}"):
        from ..export.importing.inspection import inspect

        inspection = inspect(model, shapes=sizes)
    return Answer(inspection.to_json(), lambda: _print_inspection(inspection))


COMMANDS = (convert_command, inspect_command)
"""Every command of this module, for the command line to take up."""


def _read_shape(text: str) -> tuple[str, list[int]]:
    name, _, sizes = text.rpartition("=")
    parts = sizes.replace("x", ",").split(",")
    if not name or not all(part.strip().isdecimal() for part in parts):
        raise click.BadParameter(f"{text!r} is not INPUT=N,C,H,W, for example input=1,3,224,224", param_hint="--shape")
    return name, [int(part) for part in parts]


def _size(number: int) -> str:
    return f"{number / 2**20:.2f} MiB" if number >= 2**20 else f"{number / 1024:.1f} KiB"


def _shape(sizes: tuple[int | None, ...] | None) -> str:
    return "?" if not sizes else "x".join("?" if size is None else str(size) for size in sizes)


def _pad(value: int | None) -> str:
    return "" if value is None else f"{value:+d}" if value else "0"


def _facts(left: str, right: str) -> dict[str, _Side]:
    return {**dict.fromkeys(left.split(), _LEFT), **dict.fromkeys(right.split(), _RIGHT)}


def _print_layers(title: str, facts: Mapping[str, _Side], rows: Sequence[tuple[list[str], str]]) -> None:
    """Print a layer a row: its name, facts of it, and words about it, each of which may be empty.

    Where a terminal is too narrow for all of it, nothing is cut off: each layer then takes a few lines.
    """
    console = open_console()
    if console.width < _WIDE:
        _say(title)
        for (name, *cells), words in rows:
            told = [f"{key} {cell}" if key in _NAMED else cell for key, cell in zip(facts, cells, strict=True) if cell]
            console.print(name, markup=False, highlight=False)
            for line in ("  ".join(told), words):
                for part in textwrap.wrap(line, max(20, console.width - 4), break_on_hyphens=False):
                    console.print(f"    {part}", markup=False, highlight=False)
        return
    table = Table(title=title)
    table.add_column("layer", overflow="fold")
    for fact, justify in facts.items():
        table.add_column(fact, justify=justify, overflow="fold")
    table.add_column("why, and notes", overflow="fold")
    for cells, words in rows:
        table.add_row(*cells, words)
    console.print(table, markup=False)


_WIDE = 120
"""Columns from which a table of layers is readable."""

_NAMED = frozenset({"pad", "exact", "output", "MACs", "bytes"})
"""Facts that are not understood without their names."""


def _say(text: str) -> None:
    """Print a line, which a terminal gets in its own width and a file whole."""
    console = open_console()
    console.print(text, markup=False, highlight=False, soft_wrap=not console.is_terminal)


_SHARED = 3
"""From so many layers on, a note that they share is printed once, with their number."""


def _print_conversion(report: "ConversionReport") -> None:
    rows = []
    counted = Counter(note for layer in report.layers for note in set(layer.notes))
    shared = {note: count for note, count in counted.items() if count >= _SHARED}
    for layer in report.layers:
        notes = [layer.reason] if layer.reason else []
        notes += [f"takes in {' '.join(layer.folded)}"] if layer.folded else []
        exact = "" if layer.exact is None else "yes" if layer.exact else "rounding"
        cells = [layer.name, layer.op_type, layer.form, _shape(layer.weight_shape), _pad(layer.pad_value), exact]
        rows.append((cells, "; ".join([*notes, *(note for note in layer.notes if note not in shared)])))
    _print_layers(report.target, _facts("from form", "weight pad exact"), rows)
    forms = [(report.count(form), form) for form in ("binary", "weight-only", "float")]
    counts = ", ".join(f"{count} {form}" for count, form in forms)
    for note, count in shared.items():
        _say(f"{count} layers: {note}")
    _say(f"{counts}; {_size(report.bytes_before)} -> {_size(report.bytes_after)}")
    if report.undecided:
        more = f"{report.undecided} more would be binary if Sign(0) were not 0"
        _say(f"{more}: --sign-zero plus takes it as +1, --sign-zero minus as -1")


def _compare(source: Path, target: Path, samples: int | None) -> "Comparison | None":
    if samples is None:
        return None
    from .comparing import compare

    return compare(source, target, samples)


def _print_comparison(comparison: "Comparison | None") -> None:
    if comparison is None:
        return
    for name, count in comparison.moved.items():
        if count:
            _say(f"{name}: {count:,} values take another step than in the source")
    moved = f"{sum(comparison.moved.values()):,} of {comparison.counted:,} signs and steps of quantisers differ"
    _say(f"{comparison.samples} random inputs: {moved}, outputs by up to {comparison.difference:.1e} of the largest")


def _print_inspection(inspection: "Inspection") -> None:
    rows = []
    for layer in inspection.layers:
        macs = "?" if layer.macs is None else f"{layer.macs:,}"
        shapes = [_shape(layer.weight_shape), _shape(layer.output_shape)]
        cells = [layer.name, layer.op_type, layer.form, *shapes, _pad(layer.pad_value), macs, f"{layer.bytes:,}"]
        rows.append((cells, layer.reason))
    _print_layers(inspection.path, _facts("op form", "weight output pad MACs bytes"), rows)
    share = f" ({100 * inspection.binary_macs / inspection.macs:.1f} % binary)" if inspection.macs else ""
    more = f", {inspection.unknown_macs} layers of unknown size not counted" if inspection.unknown_macs else ""
    _say(f"multiply-adds for one image: {inspection.macs:,}{share}{more}")
    factor = inspection.float_bytes / inspection.file_bytes
    _say(
        f"file: {_size(inspection.file_bytes)}, opset {inspection.opset}; "
        f"with float32 weights {_size(inspection.float_bytes)} ({factor:.1f}x)"
    )
    if inspection.refusal:
        _say(f"convert refuses it: {inspection.refusal}")
