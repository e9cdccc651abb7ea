"""``python -m latentbit.training CONFIG -o RUN``: the train stage alone, for ``torchrun`` and for rented machines.

The pipeline conducts one process. This entry is what several processes start, each with the same arguments, and what a
machine needs that only trains. It writes ``RUN/1-train``. ``pipeline run-all -c CONFIG -o RUN`` with the same values
then takes the finished training over.
"""

import argparse
import sys
import tomllib
from pathlib import Path
from typing import Any

from ..runtime.errors import ConfigError, LatentbitError
from .loop.distributed import leave
from .loop.trainer import Progress, train

__all__ = ["main"]


def tell(progress: Progress) -> None:
    """Write a line at the end of an epoch."""
    if progress.metrics is not None:
        found = progress.metrics
        sys.stdout.write(
            f"epoch {progress.epoch + 1}/{progress.epochs}  loss {found['loss']:.4f}  accuracy {found['accuracy']:.4f}"
            f"  {progress.images_per_second:.0f} images/s  {found['seconds']:.0f} s\n"
        )
        sys.stdout.flush()


def _setting(text: str) -> tuple[str, Any]:
    """Return key and value of ``train.KEY=VALUE``, the value as TOML; what is no TOML is a string."""
    key, equals, value = text.partition("=")
    if not equals or not key.startswith("train."):
        raise ConfigError(f"-s {text}: write train.KEY=VALUE, as in -s train.minutes=8.5")
    try:
        found = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        found = value
    return key.removeprefix("train."), found


def main(arguments: list[str] | None = None) -> int:
    """Train what the ``[train]`` section of CONFIG says; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m latentbit.training", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("config", type=Path, help="configuration file (TOML)")
    parser.add_argument("-o", "--output", type=Path, required=True, help="run directory")
    parser.add_argument(
        "-s", "--set", action="append", default=[], metavar="KEY=VALUE", help="change one value: -s train.minutes=8.5"
    )
    parsed = parser.parse_args(arguments)
    try:
        try:
            section = tomllib.loads(parsed.config.read_text(encoding="utf-8")).get("train", {})
        except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"{parsed.config} cannot be read: {error}") from error
        section |= dict(_setting(text) for text in parsed.set)
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
