"""Commands on model files of any origin: ``convert`` and ``inspect``. The export wing is imported when one runs."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click
from rich.table import Table

from ..runtime.zoo.catalogue import find_model
from .console import open_console

if TYPE_CHECKING:
    from ..export.importing.conversion import ConversionReport
    from ..export.importing.inspection import Inspection

__all__ = ["COMMANDS"]

_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")


@click.command("convert")
@click.argument("source", type=find_model)
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
@_json_option
def convert_command(
    source: Path,
    target: Path,
    sign_zero: Literal["keep", "plus", "minus"],
    weight_only: bool,
    straight_through: bool,
    inline: bool,
    opset: int | None,
    weights: Literal["float", "int8", "packed"] | None,
    as_json: bool,
) -> None:
    """Pack the binary layers of an ONNX file from elsewhere: QONNX (Brevitas) or plain ONNX.

    SOURCE (a file, or zoo:NAME) is read, TARGET is written, and every layer is listed: binary, weight-only or float,
    and why.
    """
    if not inline and (opset is not None or weights is not None):
        raise click.UsageError("--opset and --weights belong to --inline: a file with functions has its own")
    from ..export.importing.conversion import convert

    plain: dict[str, Any] = {"opset": opset} if opset is not None else {}
    plain |= {"weights": weights} if weights is not None else {}
    plain |= {"straight_through": straight_through, "inline": inline}
    report = convert(source, target, weight_only=weight_only, sign_zero=sign_zero, **plain)
    if as_json:
        click.echo(json.dumps(report.to_json(), indent=2, ensure_ascii=False))
    else:
        _print_conversion(report)


@click.command("inspect")
@click.argument("model", type=find_model)
@click.option(
    "--shape", "shapes", multiple=True, metavar="INPUT=N,C,H,W", help="Sizes of an input whose image size is symbolic."
)
@_json_option
def inspect_command(model: Path, shapes: tuple[str, ...], as_json: bool) -> None:
    """Show the layers of an ONNX file: packed or float and why, pad value, multiply-adds, bytes, and totals.

    MODEL is a file, or zoo:NAME.
    """
    sizes = dict(_read_shape(text) for text in shapes)
    from ..export.importing.inspection import inspect

    inspection = inspect(model, shapes=sizes)
    if as_json:
        click.echo(json.dumps(inspection.to_json(), indent=2, ensure_ascii=False))
    else:
        _print_inspection(inspection)


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


def _table(title: str, *columns: tuple[str, Literal["left", "right"]]) -> Table:
    table = Table(title=title)
    for name, justify in columns:
        table.add_column(name, justify=justify, overflow="fold")
    return table


def _shape(sizes: tuple[int | None, ...] | None) -> str:
    return "?" if not sizes else "x".join("?" if size is None else str(size) for size in sizes)


def _print_conversion(report: "ConversionReport") -> None:
    table = _table(report.target, ("layer", "left"), ("from", "left"), ("form", "left"), ("weight", "right"))
    for name in ("pad", "exact"):
        table.add_column(name, justify="right")
    table.add_column("why, and notes")
    for layer in report.layers:
        notes = [layer.reason] if layer.reason else []
        notes += [f"takes in {' '.join(layer.folded)}"] if layer.folded else []
        exact = "" if layer.exact is None else "yes" if layer.exact else "rounding"
        pad = "" if layer.pad_value is None else f"{layer.pad_value:+d}" if layer.pad_value else "0"
        words = "; ".join([*notes, *layer.notes])
        table.add_row(layer.name, layer.op_type, layer.form, _shape(layer.weight_shape), pad, exact, words)
    console = open_console()
    console.print(table, markup=False)
    forms = [(report.count(form), form) for form in ("binary", "weight-only", "float")]
    counts = ", ".join(f"{count} {form}" for count, form in forms)
    click.echo(f"{counts}; {_size(report.bytes_before)} -> {_size(report.bytes_after)}")


def _print_inspection(inspection: "Inspection") -> None:
    table = _table(inspection.path, ("layer", "left"), ("op", "left"), ("form", "left"), ("weight", "right"))
    for name in ("output", "pad", "MACs", "bytes"):
        table.add_column(name, justify="right")
    table.add_column("why")
    for layer in inspection.layers:
        pad = "" if layer.pad_value is None else f"{layer.pad_value:+d}" if layer.pad_value else "0"
        macs = "?" if layer.macs is None else f"{layer.macs:,}"
        row = (layer.name, layer.op_type, layer.form, _shape(layer.weight_shape), _shape(layer.output_shape))
        table.add_row(*row, pad, macs, f"{layer.bytes:,}", layer.reason)
    open_console().print(table, markup=False)
    share = f" ({100 * inspection.binary_macs / inspection.macs:.1f} % binary)" if inspection.macs else ""
    more = f", {inspection.unknown_macs} layers of unknown size not counted" if inspection.unknown_macs else ""
    click.echo(f"multiply-adds for one image: {inspection.macs:,}{share}{more}")
    factor = inspection.float_bytes / inspection.file_bytes
    click.echo(
        f"file: {_size(inspection.file_bytes)}, opset {inspection.opset}; "
        f"with float32 weights {_size(inspection.float_bytes)} ({factor:.1f}x)"
    )
