"""Commands for devices: ``bundle``, ``build-kernels`` and ``bench``."""

import json
from pathlib import Path

import click
from rich.table import Table

from ..runtime.errors import RunDirError
from ..runtime.machine.library import CLASSES, cpu_class
from ..runtime.proof.peers import PEERS
from ..runtime.zoo.catalogue import find_model
from .conductor import plan_stages
from .console import open_console
from .rundir import RunDir
from .stages import STAGES

__all__ = ["COMMANDS"]

_CLASSES = ", ".join(CLASSES)
_target_option = click.option("--target", "targets", default="", help=f"Classes of CPU, by commas: {_CLASSES}.")


@click.command("bundle")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Folder to make, or FILE.zip.")
@click.option(
    "--samples", type=click.IntRange(1), help="Reference images, spread over the classes [default: at most 1000]."
)
@_target_option
@click.option("--sign-key", type=click.Path(path_type=Path), help="Private Ed25519 key (PEM) to sign the bundle with.")
def bundle_command(run: Path, output: Path, samples: int | None, targets: str, sign_key: Path | None) -> None:
    """Pack what a device needs to check a finished run: model, reference, kernels, digests.

    With --target the bundle carries kernels compiled ahead of time, and a device of that class needs no numba. Whoever
    checks it says --trust-kernels to run them, or gives the public key of --sign-key.
    """
    opened = RunDir.open(run)
    for plan in plan_stages(opened, STAGES):
        if plan.reason and plan.stage.name in ("train", "fold", "export"):
            raise RunDirError(f"stage {plan.stage.name} of {run} is not complete ({plan.reason}): run it first")
    from .bundle import make_bundle

    made = make_bundle(opened, output, samples=samples, targets=_names(targets), sign_key=sign_key)
    click.echo(f"{made}: on the device, python -m latentbit.runtime check {made.name}")


@click.command("build-kernels")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Folder for CLASS.so.")
@_target_option
def build_command(output: Path, targets: str) -> None:
    """Compile all kernels ahead of time, by default for the class of this CPU.

    A process with LATENTBIT_KERNELS=FOLDER in its environment runs them, and imports neither numba nor llvmlite.
    """
    from ..runtime.kernels.build import build_libraries

    names = _names(targets) or [name for name in [cpu_class()] if name]
    if not names:
        raise click.UsageError(f"this CPU is of no known class: name one with --target ({_CLASSES})")
    for path in build_libraries(output, names):
        click.echo(f"{path}  {path.stat().st_size:,} bytes")


@click.command("bench")
@click.argument("model", type=find_model)
@click.option("--peers", default="onnxruntime", show_default=True, help=f"{', '.join(PEERS)}.")
@click.option("--threads", default="1", show_default=True, help="Numbers of threads, by commas.")
@click.option("--runs", type=click.IntRange(1), default=100, show_default=True, help="Runs of every engine, by turns.")
@click.option("--batch", type=click.IntRange(1), default=1, show_default=True, help="Images at a time.")
@click.option(
    "--float",
    "original",
    type=click.Path(path_type=Path),
    help="The float network (.onnx) to time beside it, in int8 too.",
)
@click.option(
    "--reference", type=click.Path(path_type=Path), help="reference.npz with labels: measure accuracies on it too."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def bench_command(
    model: Path,
    peers: str,
    threads: str,
    runs: int,
    batch: int,
    original: Path | None,
    reference: Path | None,
    as_json: bool,
) -> None:
    """Time a model here beside what a user would run instead, by turns in one process.

    MODEL is a file, or zoo:NAME. The integers of every packed layer are compared with the oracle before any time is
    taken.

    \b
    Examples:
      pipeline bench zoo:digits --threads 1,2
      pipeline bench packed.onnx --float float.onnx --reference runs/mine/2-fold/reference.npz
    """
    try:
        counts = [int(count) for count in threads.split(",")]
    except ValueError:
        raise click.BadParameter(f"{threads!r}: give whole numbers, as in 1,2", param_hint="--threads") from None
    from ..runtime.proof.bench import bench

    report = bench(
        model, peers=_names(peers), threads=counts, runs=runs, batch=batch, original=original, reference=reference
    )
    if as_json:
        click.echo(json.dumps(report.to_json(), indent=2))
        return
    table = Table(title=str(model))
    names = ["engine", "threads", "median, ms", "p95, ms", "best, ms", "p99, ms", "times ours"]
    for name in [*names, "accuracy"] if reference is not None else names:
        table.add_column(name, justify="left" if name == "engine" else "right")
    for row in report.results:
        figures = (f"{value:.3f}" for value in (row.times.median, row.times.p95, row.times.best, row.times.p99))
        right = [] if reference is None else ["" if row.accuracy is None else f"{row.accuracy:.2%}"]
        table.add_row(row.engine, str(row.threads), *figures, f"{row.ratio:.2f}", *right)
    open_console().print(table)
    click.echo(f"{report.environment['cpu']}, {report.environment['versions']}")


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


COMMANDS = (bench_command, build_command, bundle_command)
