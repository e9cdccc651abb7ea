"""``python -m latentbit.training CONFIG -o RUN``: the train stage alone, for ``torchrun`` and for rented machines.

The pipeline conducts one process. This entry is what several processes start, each with the same arguments, and what a
machine needs that only trains. It writes ``RUN/1-train``. ``pipeline run-all -c CONFIG -o RUN`` with the same values
then takes the finished training over.

Examples::

    python -m latentbit.training configs/digits.toml -o runs/clock -s train.minutes=8.5
    python -m latentbit.training mine/config.toml -o runs/mine -s train.model=network:build
    torchrun --nproc-per-node 8 -m latentbit.training configs/imagenet_resnet18_single_stage.toml -o runs/r18
"""

import argparse
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

from ..runtime.errors import ConfigError, LatentbitError
from .loop.distributed import leave
from .loop.trainer import Progress, train
from .overrides import read_override, read_toml
from .settings import Settings

__all__ = ["main"]


def tell(progress: Progress) -> None:
    """Write a line at the end of an epoch."""
    if progress.metrics is not None:
        found = progress.metrics
        accuracy = f"  accuracy {found['accuracy']:.4f}" if "accuracy" in found else ""
        sys.stdout.write(
            f"epoch {progress.epoch + 1}/{progress.epochs}  loss {found['loss']:.4f}{accuracy}"
            f"  {progress.images_per_second:.0f} images/s  {found['seconds']:.0f} s\n"
        )
        sys.stdout.flush()


def _section(path: Path, overrides: list[str]) -> dict[str, Any]:
    """Return the keywords of ``train``: the section ``[train]`` of a file, changed by ``train.KEY=VALUE``."""
    values = read_toml(path).get("train", {})
    if not isinstance(values, dict):
        raise ConfigError(f"train in {path} must be a section: write [train] and its keys below")
    kinds = {known.name: type(known.default) for known in fields(Settings)}
    for text in overrides:
        section, key, value = read_override(text, lambda _, key: kinds.get(key))
        if section != "train":
            raise ConfigError(f"-s {text}: write train.KEY=VALUE, as in -s train.minutes=8.5")
        values[key] = value
    values["code"] = str((path.parent / str(values.get("code", ""))).resolve())
    return values


def main(arguments: list[str] | None = None) -> int:
    """Train what the ``[train]`` section of CONFIG says; returns the exit code."""
    summary, _, examples = (__doc__ or "").partition("Examples::")
    parser = argparse.ArgumentParser(
        prog="python -m latentbit.training",
        description=summary.split("\n")[0],
        epilog=f"examples:{examples}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("config", type=Path, help="configuration file (TOML)")
    parser.add_argument("-o", "--output", type=Path, required=True, help="run directory")
    parser.add_argument(
        "-s", "--set", action="append", default=[], metavar="KEY=VALUE", help="change one value: -s train.minutes=8.5"
    )
    parsed = parser.parse_args(arguments)
    try:
        section = _section(parsed.config, parsed.set)
        result = train(out=parsed.output / "1-train", progress=tell, **section)
    except LatentbitError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    finally:
        leave()
    sys.stdout.write(f"{result.folder}: {result.metrics}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
