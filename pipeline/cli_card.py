"""The command ``card``."""

from pathlib import Path

import click

from ..runtime.terminal import Answer, working
from .completion import MODEL
from .console import Command

__all__ = ["COMMANDS"]


@click.command(
    "card",
    cls=Command,
    examples=(
        "card runs/digits -o digits-card --license apache-2.0",
        "card zoo:digits -o digits-card --name digits-1bit",
    ),
)
@click.argument("model", type=MODEL)
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Folder to make.")
@click.option("--name", help="What the card calls the model [default: the run's or the file's name].")
@click.option("--license", "licence", help="Identifier of its licence, as the hub knows them: apache-2.0.")
def card_command(model: Path, output: Path, name: str | None, licence: str | None) -> Answer:
    """Write a Hugging Face model card, and a folder with the model that is ready to push.

    MODEL is a run that has been exported, a .onnx file, or zoo:NAME. Nothing is sent anywhere.
    """
    with working("card"):
        from .model_card import write_model_folder

        made = write_model_folder(model, output, name=name or model.resolve().stem, licence=licence)
    push = f"hf upload YOU/{name or model.resolve().stem} {made.folder}"
    figures = {"folder": str(made.folder), "files": list(made.files), "metadata": made.metadata, "next": push}
    return Answer(figures, lambda: click.echo(f"{made.folder}: {', '.join(made.files)}; now {push}"))


COMMANDS = (card_command,)
"""Every command of this module, for the command line to take up."""
