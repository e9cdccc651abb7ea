"""Commands that compare trainings: ``ablate`` and ``separability``. torch is imported when one runs."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.table import Table

from ..runtime.errors import RunDirError
from ..runtime.files import write_bytes
from ..runtime.terminal import Answer, working
from . import config as configuration
from .completion import complete_variants, set_option
from .console import Command, open_console
from .paths import STUDY, TRAINED
from .progress import StageProgress
from .rundir import RunDir

if TYPE_CHECKING:
    from ..training.loop.trainer import Progress

__all__ = ["COMMANDS"]


@click.command(
    "ablate",
    cls=Command,
    examples=(
        "ablate configs/digits.toml",
        "ablate configs/digits.toml --variants none,L1,L4 --seeds 0,1",
        "ablate configs/digits.toml --variants 'none;L1:mu=0.5,eta=1'",
    ),
    resumes=True,
    judges=True,
)
@click.argument("config", type=click.Path(path_type=Path))
@click.option(
    "--variants",
    default="none,L1",
    show_default=True,
    shell_complete=complete_variants,
    help="Variants; separated by ; if one has commas.",
)
@click.option("--seeds", default="0,1,2", show_default=True, help="Seeds, shared by all variants.")
@set_option("Change one value of the file.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Folder [default: runs/CONFIG-ablation].")
@click.option("--epochs-only", is_flag=True, help="Compare at equal epochs only, not at equal compute as well.")
@click.option("--longer", is_flag=True, help="All once more with 1.5 times the epochs: had the schedule converged?")
def ablate_command(
    config: Path,
    variants: str,
    seeds: str,
    overrides: tuple[str, ...],
    output: Path | None,
    epochs_only: bool,
    longer: bool,
) -> Answer:
    """Compare variants of the latent branch with paired seeds, the first as baseline.

    CONFIG is a configuration file; a variant is none, L1 ... L6, or with other settings L1:phi=hardtanh,mu=0.5.
    Finished trainings are kept: started again, a killed ablation goes on. Commands that differ in their seeds may run
    at the same time.
    """
    names = variants.split(";" if ";" in variants else ",")
    try:
        numbers = [int(seed) for seed in seeds.split(",")]
    except ValueError:
        raise click.BadParameter(f"{seeds!r}: give whole numbers, as in 0,1,2", param_hint="--seeds") from None
    section = asdict(configuration.read(config, overrides).train)
    section.pop("seed")
    folder = output or Path("runs") / f"{config.stem}-ablation"

    from ..training.studies.ablation import ablate

    with StageProgress(open_console()).stage("ablate", ", ".join(names)) as step:

        def tell(label: str, event: "Progress") -> None:
            done = event.epoch * event.steps + event.step
            step(done, event.epochs * event.steps, f"{label}, epoch {event.epoch + 1}/{event.epochs}")

        result = ablate(
            variants=[name.strip() for name in names],
            seeds=numbers,
            out=folder,
            equal_compute=not epochs_only,
            longer=longer,
            progress=tell,
            **section,
        )
    files = ["table.md", "plot.png", "ablation.jsonl"]
    figures = {"folder": str(result.folder), "files": files, "rows": [asdict(row) for row in result.rows]}
    return Answer(figures, lambda: click.echo(f"{result.table}\n{result.folder}: {', '.join(files)}"))


@click.command("separability", cls=Command, examples=("separability runs/none runs/l1 -o runs/compared --images 1000",))
@click.argument("runs", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Folder for figures and picture.")
@click.option("--images", type=click.IntRange(10), default=2000, show_default=True, help="Test images to look at.")
def separability_command(runs: tuple[Path, ...], output: Path, images: int) -> Answer:
    """Measure how well trained runs tell the classes apart, and draw their features (t-SNE).

    RUNS are run directories of the same data, for example one with and one without the latent branch. The comparison
    is left in each of them too: latentbit report RUN --force shows it.
    """
    opened = [RunDir.open(run) for run in runs]
    for run in opened:
        record = run.stages.get("train")
        if record is None or not record.finished:
            raise RunDirError(f"{run.path} has no finished training: run pipeline run-all -o {run.path} --until train")
    first = opened[0].config.train
    if first.named("data"):
        raise RunDirError(f"{first.data} is your own data: separability looks at runs on the data sets of latentbit")
    for run in opened[1:]:
        if run.config.train.data != first.data:
            raise RunDirError(f"{run.path} was trained on {run.config.train.data}, {opened[0].path} on {first.data}")

    with working("separability"):
        from ..training.studies.separability import separability

        found = separability(
            {_title(run): run.path / TRAINED for run in opened},
            output,
            data=first.data,
            root=first.root or None,
            image_size=first.image_size,
            images=images,
        )
    for run in opened:
        write_bytes(run.path / STUDY, (output / "features.json").read_bytes())
    files = ["separability.json", "tsne.png", "features.json"]

    def show() -> None:
        table = Table("run", "LDA trace", "silhouette", "linear probe", title="separability of pooled features")
        for name, each in found.items():
            table.add_row(name, f"{each.lda_trace:.2f}", f"{each.silhouette:.3f}", f"{100 * each.linear_probe:.2f} %")
        open_console().print(table)
        click.echo(f"{output}: {', '.join(files)}")

    figures = {"folder": str(output), "files": files, "runs": {name: asdict(each) for name, each in found.items()}}
    return Answer(figures, show)


def _title(run: RunDir) -> str:
    latent = run.config.train.latent
    return f"{run.path.resolve().name}, {'no latent branch' if latent == 'none' else f'latent branch {latent}'}"


COMMANDS = (ablate_command, separability_command)
