"""Commands for devices: ``bundle`` and ``build-kernels``."""

from pathlib import Path

import click

from ..runtime.errors import RunDirError
from ..runtime.machine.library import CLASSES, cpu_class
from ..runtime.terminal import Answer, working
from .completion import complete_list
from .conductor import plan_stages
from .console import Command
from .rundir import RunDir
from .stages import STAGES

__all__ = ["COMMANDS"]

_CLASSES = ", ".join(CLASSES)
_target_option = click.option(
    "--target",
    "targets",
    default="",
    shell_complete=complete_list(CLASSES),
    help=f"Classes of CPU, by commas: {_CLASSES}.",
)


@click.command(
    "bundle",
    cls=Command,
    examples=(
        "bundle runs/digits -o demo.zip",
        "bundle runs/digits -o demo.zip --target aarch64 --sign-key key.pem",
    ),
)
@click.argument("run", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Folder to make, or FILE.zip.")
@click.option(
    "--samples", type=click.IntRange(1), help="Reference images, spread over the classes [default: at most 1000]."
)
@_target_option
@click.option("--sign-key", type=click.Path(path_type=Path), help="Private Ed25519 key (PEM) to sign the bundle with.")
def bundle_command(run: Path, output: Path, samples: int | None, targets: str, sign_key: Path | None) -> Answer:
    """Pack what a device needs to check a finished run: model, reference, kernels, digests.

    With --target the bundle carries kernels compiled ahead of time, and a device of that class needs no numba. Whoever
    checks it says --trust-kernels to run them, or gives the public key of --sign-key.
    """
    opened = RunDir.open(run)
    for plan in plan_stages(opened, STAGES):
        if plan.reason and plan.stage.name in ("train", "fold", "export"):
            raise RunDirError(f"stage {plan.stage.name} of {run} is not complete ({plan.reason}): run it first")
    from .bundle import make_bundle

    with working("bundle") as step:
        made = make_bundle(opened, output, samples=samples, targets=_names(targets), sign_key=sign_key, progress=step)
    next_command = f"latentbit check {made.name}"
    return Answer(
        {"bundle": str(made), "next": next_command}, lambda: click.echo(f"{made}: on the device, {next_command}")
    )


@click.command(
    "build-kernels", cls=Command, examples=("build-kernels -o kernels", "build-kernels -o kernels --target aarch64")
)
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Folder for CLASS.so.")
@_target_option
def build_command(output: Path, targets: str) -> Answer:
    """Compile all kernels ahead of time, by default for the class of this CPU.

    A process with LATENTBIT_KERNELS=FOLDER in its environment runs them, and imports neither numba nor llvmlite.
    """
    from ..runtime.kernels.build import build_libraries

    names = _names(targets) or [name for name in [cpu_class()] if name]
    if not names:
        raise click.UsageError(f"this CPU is of no known class: name one with --target ({_CLASSES})")
    with working("build-kernels") as step:
        built = build_libraries(output, names, progress=step)
    sizes = {str(path): path.stat().st_size for path in built}
    lines = [f"{path}  {size:,} bytes" for path, size in sizes.items()]
    return Answer({"libraries": sizes}, lambda: click.echo("\n".join(lines)))


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


COMMANDS = (build_command, bundle_command)
