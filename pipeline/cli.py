"""The commands. Each one's docstring is its help; exit codes are 0 pass, 1 failure, 2 usage, 130 stopped by Ctrl-C.

Every command is a :class:`~.console.Command` and returns an answer, for people or as JSON. An expected error
(:class:`LatentbitError`) is one line on stderr; any other exception keeps its traceback.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from .. import __version__
from ..runtime.errors import CheckFailed, LatentbitError, MissingExtraError, RunDirError
from ..runtime.proof.bundle import MANIFEST
from ..runtime.proof.report import CheckReport
from ..runtime.terminal import Answer, drop_output, output_errors, plain_output
from ..runtime.zoo.catalogue import PREFIX
from . import config as configuration
from .cli_board import BOARD
from .cli_board import COMMANDS as BOARD_COMMANDS
from .cli_card import COMMANDS as CARD_COMMANDS
from .cli_devices import COMMANDS as DEVICE_COMMANDS
from .cli_init import COMMANDS as INIT_COMMANDS
from .cli_models import COMMANDS as MODEL_COMMANDS
from .cli_studies import COMMANDS as STUDY_COMMANDS
from .cli_zoo import COMMANDS as ZOO_COMMANDS
from .completion import set_option
from .conductor import Plan, conduct, plan_stages
from .console import Command, note, open_console
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

_EXAMPLES = {
    "train": ("train runs/digits -s train.epochs=3",),
    "fold": ("fold runs/digits -s fold.input=exact",),
    "export": ("export runs/digits -s export.top_k=5",),
    "run": ("run runs/digits -s run.threads=2", "run zoo:digits images.npy"),
    "check": ("check runs/digits --force --json", "check demo.zip"),
    "report": ("report runs/digits -s report.images=100",),
}

_set_option = set_option("Change one value: -s train.epochs=3.")
_run_argument = click.argument("run", type=click.Path(path_type=Path))


class _Commands(click.Group):
    """The command tree; says what a command leaves behind that the user stops, or that writes to a closed pipe."""

    command_class = Command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that is meant: ``run`` and ``check`` take a run, or a model or bundle as on a device."""
        name, command, rest = super().resolve_command(ctx, args)
        if name in ("run", "check") and any(map(_for_device, rest)):
            command = BOARD[name]
        ctx.obj = command
        return name, command, rest

    def invoke(self, ctx: click.Context) -> Any:
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
            return result
        except KeyboardInterrupt:
            kept = ": the same command goes on from here" if isinstance(ctx.obj, Command) and ctx.obj.resumes else ""
            click.echo(f"\nstopped{kept}", err=True)
            ctx.exit(130)
        except BrokenPipeError:  # whoever read our output, ``head`` for one, has enough
            drop_output()
            # Commands with a verdict have not told it: that is no success.
            ctx.exit(int(isinstance(ctx.obj, Command) and ctx.obj.judges))


def _for_device(word: str) -> bool:
    """Return whether a word is a model or a bundle, and no run."""
    path = Path(word)
    return word.startswith(PREFIX) or path.suffix in (".onnx", ".zip") or (path / MANIFEST).is_file()


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80})
@click.version_option(__version__, package_name="latentbit")
def cli() -> None:
    """Binary neural networks: train, fold, export, run with popcount kernels, and prove that nothing changed.

    Each command has examples in its --help, and prints JSON with --json.
    """


@cli.command(
    "run-all",
    resumes=True,
    judges=True,
    examples=(
        "run-all",
        "run-all -c configs/cifar10_resnet20.toml -s train.epochs=10",
        "run-all -o runs/short --from export -s export.top_k=5",
        "run-all -c mine/mine.toml -s train.model=network:build",
    ),
)
@click.option("-c", "--config", "config_path", type=click.Path(path_type=Path), help="Configuration file (TOML).")
@_set_option
@click.option("-o", "--output", type=click.Path(path_type=Path), help=f"Run directory [default: {_DEFAULT_RUN}].")
@click.option("--from", "first", type=click.Choice(_NAMES), default=_NAMES[0], help="First stage to bring up to date.")
@click.option("--until", "last", type=click.Choice(_NAMES), default=_NAMES[-1], help="Last stage to bring up to date.")
@click.option("--force", is_flag=True, help="Run the stages even where they are fresh.")
def run_all(
    config_path: Path | None, overrides: tuple[str, ...], output: Path | None, first: str, last: str, force: bool
) -> Answer:
    """Train, fold, export, run, check, report: bring every stage of a run up to date.

    Fresh stages are skipped and a killed run resumes. Without -c an existing run keeps its stored configuration,
    changed by -s. Without -o the run directory is runs/NAME for -c NAME.toml, else runs/digits. Bad values are refused
    before anything is stored.
    """
    if _NAMES.index(first) > _NAMES.index(last):
        raise click.UsageError(f"--from {first} lies behind --until {last}")
    path = output or (Path("runs") / config_path.stem if config_path else _DEFAULT_RUN)
    run = RunDir.open(path)
    base = run.config if run.exists and config_path is None else None
    config = configuration.read(config_path, overrides, base)
    if base is not None and (changed := configuration.difference(Config(), config)):
        note(f"{path} keeps its configuration: {', '.join(changed)}")
    return _conduct(run, config, first=first, last=last, force=force)


def _stage_command(name: str, help_text: str) -> click.Command:
    @click.command(name, cls=Command, help=help_text, examples=_EXAMPLES[name], resumes=True, judges=True)
    @_run_argument
    @_set_option
    @click.option("--force", is_flag=True, help="Run the stage even where it is fresh.")
    def command(run: Path, overrides: tuple[str, ...], force: bool) -> Answer:
        opened = RunDir.open(run)
        config = configuration.read(None, overrides, opened.config)
        return _conduct(opened, config, first=name, last=name, force=force)

    return command


_ON_DEVICE = {
    "run": "\n\nWith a model it runs that, as on a device: run MODEL INPUT.npy [-o FILE].",
    "check": "\n\nWith a bundle it checks this machine, as on a device: check BUNDLE.",
}

for _stage in STAGES:
    _text = (_stage.perform.__doc__ or "").split("\n")[0]
    _text += "\n\nRUN is the run directory; the stages before must be complete."
    cli.add_command(_stage_command(_stage.name, _text + _ON_DEVICE.get(_stage.name, "")))


@cli.command(examples=("show runs/digits", "show runs/digits --json"))
@_run_argument
def show(run: Path) -> Answer:
    """Show a run: its stages, and the figures of its accuracy check."""
    opened = RunDir.open(run)
    if not opened.exists:
        raise RunDirError(f"there is no run at {run}: make one with latentbit run-all -o {run}")
    plans, report = plan_stages(opened, STAGES), read_report(opened)

    def tell() -> None:
        _print_stages(opened, plans)
        if report is not None:
            print_check(open_console(), report)

    return Answer(_figures(opened, plans, report), tell)


for _command in (
    *(*INIT_COMMANDS, *BOARD_COMMANDS, *DEVICE_COMMANDS, *MODEL_COMMANDS),
    *(*STUDY_COMMANDS, *ZOO_COMMANDS, *CARD_COMMANDS),
):
    cli.add_command(_command)


def _conduct(run: RunDir, config: Config, *, first: str, last: str, force: bool) -> Answer:
    """Conduct the stages; where the check is among them, answer with its figures, and a failure if they fail."""
    conduct(run, STAGES, config, StageProgress(open_console()), first=first, last=last, force=force)
    report = failure = None
    if _NAMES.index(first) <= _NAMES.index("check") <= _NAMES.index(last):
        report = read_report(run)
        if report is None:
            raise RunDirError(f"{run.path} has no readable report.json: run latentbit check {run.path} --force")
        if not report.passed:
            failure = CheckFailed(f"the accuracy check failed: {'; '.join(report.failures)}")

    def tell() -> None:
        if report is not None:
            print_check(open_console(), report)
        if last == "report" and failure is None:
            click.echo(f"report  {run.path / PAGE}")

    return Answer(_figures(run, plan_stages(run, STAGES), report), tell, failure)


def _figures(run: RunDir, plans: Sequence[Plan], report: CheckReport | None) -> dict[str, Any]:
    """Return a run as JSON: where it lies, its stages, and the report of its check (null where none was asked for)."""
    stages = {plan.stage.name: {"fresh": not plan.reason, "reason": plan.reason} for plan in plans}
    for name in stages.keys() & run.stages.keys():  # a manifest may name others
        stages[name]["seconds"] = run.stages[name].seconds if run.stages[name].finished else None
    return {"run": str(run.path), "stages": stages, "check": None if report is None else report.to_json()}


def _print_stages(run: RunDir, plans: Sequence[Plan]) -> None:
    """Print the stages of a run: fresh or why not, and how long each took."""
    table = Table(title=str(run.path))
    table.add_column("stage")
    table.add_column("state")
    table.add_column("seconds", justify="right")
    for plan in plans:
        record = run.stages.get(plan.stage.name)
        seconds = f"{record.seconds:.1f}" if record is not None and record.finished else ""
        table.add_row(plan.stage.name, plan.reason or "fresh", seconds)
    open_console().print(table)


def main(args: list[str] | None = None) -> None:
    """Entry point: print an expected error as one line and exit with its code."""
    plain_output()
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
