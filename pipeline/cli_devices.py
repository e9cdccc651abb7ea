"""Commands for devices: ``bundle`` and ``build-kernels``."""

from pathlib import Path

import click

from ..runtime.errors import RunDirError
from .conductor import plan_stages
from .rundir import RunDir

__all__ = ["COMMANDS"]

_CLASSES = "x86-64-v3, x86-64-v2, aarch64"
_target_option = click.option("--target", "targets", default="", help=f"Classes of CPU, by commas: {_CLASSES}.")


@click.command("bundle")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Folder to make, or FILE.zip.")
@click.option(
    "--samples", type=click.IntRange(1), help="Reference images, spread over the classes [default: at most 1000]."
)
@_target_option
def bundle_command(run: Path, output: Path, samples: int | None, targets: str) -> None:
    """Pack what a device needs to check a finished run: model, reference, kernels, digests.

    With --target the bundle carries kernels compiled ahead of time, and a device of that class needs no numba.
    """
    opened = RunDir.open(run)
    for plan in plan_stages(opened):
        if plan.reason and plan.stage.name in ("train", "fold", "export"):
            raise RunDirError(f"stage {plan.stage.name} of {run} is not complete ({plan.reason}): run it first")
    from .bundle import make_bundle

    made = make_bundle(opened, output, samples=samples, targets=_names(targets))
    click.echo(f"{made}: on the device, python -m latentbit.runtime check {made.name}")


@click.command("build-kernels")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Folder for CLASS.so.")
@_target_option
def build_command(output: Path, targets: str) -> None:
    """Compile all kernels ahead of time, by default for the class of this CPU.

    A process with LATENTBIT_KERNELS=FOLDER in its environment runs them, and imports neither numba nor llvmlite.
    """
    from ..runtime.aot import build_libraries
    from ..runtime.library import cpu_class

    names = _names(targets) or [name for name in [cpu_class()] if name]
    if not names:
        raise click.UsageError(f"this CPU is of no known class: name one with --target ({_CLASSES})")
    for path in build_libraries(output, names):
        click.echo(f"{path}  {path.stat().st_size:,} bytes")


def _names(targets: str) -> list[str]:
    return [name.strip() for name in targets.split(",") if name.strip()]


COMMANDS = (bundle_command, build_command)
