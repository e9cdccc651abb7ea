"""The commands. Each one's docstring is its help; exit codes are 0 pass, 1 failure, 2 usage, 130 stopped by Ctrl-C.

An expected error (:class:`LatentbitError`) is one line on stderr; any other exception keeps its traceback.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from .. import __version__
from ..runtime.errors import CheckFailed, LatentbitError, MissingExtraError, RunDirError
from ..runtime.files import drop_output, output_errors
from . import config as configuration
from .cli_board import COMMANDS as BOARD_COMMANDS
from .cli_devices import COMMANDS as DEVICE_COMMANDS
from .cli_init import COMMANDS as INIT_COMMANDS
from .cli_models import COMMANDS as MODEL_COMMANDS
from .cli_studies import COMMANDS as STUDY_COMMANDS
from .cli_zoo import COMMANDS as ZOO_COMMANDS
from .conductor import Plan, conduct, plan_stages
from .console import open_console
from .paths import PAGE
from .progress import StageProgress
from .rundir import RunDir
from .sections import Config
from .stages import STAGES
from .summary import print_check, read_report

__all__ = ["cli", "main"]

_NAMES = [stage.name for stage in STAGES]
_DEFAULT_RUN = Path("runs/digits")
_OF_TRAIN = {"PIL", "jinja2", "matplotlib", "onnx_ir", "onnxscript", "sklearn", "torch"}

_RESUMING = {"run-all", "ablate", *_NAMES}

_set_option = click.option(
    "-s", "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change one value: -s train.epochs=3."
)
_run_argument = click.argument("run", type=click.Path(path_type=Path))


class _Commands(click.Group):
    """The command tree; says what a command leaves behind that the user stops, or that writes to a closed pipe."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
            return result
        except KeyboardInterrupt:
            kept = ": the same command goes on from here" if ctx.invoked_subcommand in _RESUMING else ""
            click.echo(f"\nstopped{kept}", err=True)
            ctx.exit(130)
        except BrokenPipeError:  # whoever read our output, ``head`` for one, has enough
            drop_output()
            # Commands with a verdict have not told it: that is no success.
            ctx.exit(1 if ctx.invoked_subcommand in _RESUMING else 0)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, package_name="latentbit")
def cli() -> None:
    """Binary neural networks: train, fold, export, run with popcount kernels, and prove that nothing changed."""


@cli.command("run-all")
@click.option("-c", "--config", "config_path", type=click.Path(path_type=Path), help="Configuration file (TOML).")
@_set_option
@click.option("-o", "--output", type=click.Path(path_type=Path), help=f"Run directory [default: {_DEFAULT_RUN}].")
@click.option("--from", "first", type=click.Choice(_NAMES), default=_NAMES[0], help="First stage to bring up to date.")
@click.option("--until", "last", type=click.Choice(_NAMES), default=_NAMES[-1], help="Last stage to bring up to date.")
@click.option("--force", is_flag=True, help="Run the stages even where they are fresh.")
def run_all(
    config_path: Path | None, overrides: tuple[str, ...], output: Path | None, first: str, last: str, force: bool
) -> None:
    """Train, fold, export, run, check, report: bring every stage of a run up to date.

    Fresh stages are skipped and a killed run resumes. Without -c an existing run keeps its stored configuration,
    changed by -s. Without -o the run directory is runs/NAME for -c NAME.toml, else runs/digits. Bad values are refused
    before anything is stored.

    \b
    Examples:
      pipeline run-all
      pipeline run-all -c configs/cifar10_resnet20_exact.toml -s train.epochs=10 -o runs/short
      pipeline run-all -o runs/short --from export -s export.top_k=5
      pipeline run-all -c mine/mine.toml -s train.model=network:build
    """
    if _NAMES.index(first) > _NAMES.index(last):
        raise click.UsageError(f"--from {first} lies behind --until {last}")
    path = output or (Path("runs") / config_path.stem if config_path else _DEFAULT_RUN)
    run = RunDir.open(path)
    base = run.config if run.exists and config_path is None else None
    config = configuration.read(config_path, overrides, base)
    console = open_console()
    if base is not None and (changed := configuration.difference(Config(), config)):
        click.echo(f"{path} keeps its configuration: {', '.join(changed)}")
    _conduct(run, config, console, first=first, last=last, force=force)


def _stage_command(name: str, help_text: str) -> click.Command:
    @click.command(name, help=help_text)
    @_run_argument
    @_set_option
    @click.option("--force", is_flag=True, help="Run the stage even where it is fresh.")
    def command(run: Path, overrides: tuple[str, ...], force: bool) -> None:
        opened = RunDir.open(run)
        config = configuration.read(None, overrides, opened.config)
        _conduct(opened, config, open_console(), first=name, last=name, force=force)

    return command


for _stage in STAGES:
    _text = (_stage.perform.__doc__ or "").split("\n")[0]
    cli.add_command(
        _stage_command(_stage.name, f"{_text}\n\nRUN is the run directory; the stages before must be complete.")
    )


@cli.command()
@_run_argument
def show(run: Path) -> None:
    """Show a run: its stages, and the figures of its accuracy check."""
    opened = RunDir.open(run)
    if not opened.exists:
        raise RunDirError(f"there is no run at {run}: make one with pipeline run-all -o {run}")
    console = open_console()
    _print_stages(console, opened, plan_stages(opened, STAGES))
    if (report := read_report(opened)) is not None:
        print_check(console, report)


for _command in (*INIT_COMMANDS, *BOARD_COMMANDS, *DEVICE_COMMANDS, *MODEL_COMMANDS, *STUDY_COMMANDS, *ZOO_COMMANDS):
    cli.add_command(_command)


def _conduct(run: RunDir, config: Config, console: Console, *, first: str, last: str, force: bool) -> None:
    """Conduct the stages; where the check is among them, show its figures. Raises :class:`CheckFailed`."""
    conduct(run, STAGES, config, StageProgress(console), first=first, last=last, force=force)
    if _NAMES.index(first) <= _NAMES.index("check") <= _NAMES.index(last):
        report = read_report(run)
        if report is None:
            raise RunDirError(f"{run.path} has no readable report.json: run pipeline check {run.path} --force")
        print_check(console, report)
        if not report.passed:
            raise CheckFailed(f"the accuracy check failed: {'; '.join(report.failures)}")
    if last == "report":
        click.echo(f"report  {run.path / PAGE}")


def _print_stages(console: Console, run: RunDir, plans: Sequence[Plan]) -> None:
    """Print the stages of a run: fresh or why not, and how long each took."""
    table = Table(title=str(run.path))
    table.add_column("stage")
    table.add_column("state")
    table.add_column("seconds", justify="right")
    for plan in plans:
        record = run.stages.get(plan.stage.name)
        seconds = f"{record.seconds:.1f}" if record is not None and record.finished else ""
        table.add_row(plan.stage.name, plan.reason or "fresh", seconds)
    console.print(table)


def main(args: list[str] | None = None) -> None:
    """Entry point: print an expected error as one line and exit with its code."""
    try:
        with output_errors():
            cli.main(args, standalone_mode=True)
    except LatentbitError as error:
        click.echo(f"error: {' '.join(str(error).split())}", err=True)
        raise SystemExit(error.exit_code) from None
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _OF_TRAIN:
            raise
        click.echo(f"error: this needs {error.name}: pip install 'latentbit[train]'", err=True)
        raise SystemExit(MissingExtraError.exit_code) from None
