"""The section on where a run comes from: what made it, when, from what, and the command that repeats it."""

import shlex
from dataclasses import dataclass
from typing import Any

from .. import config as configuration
from ..sections import Config
from .facts import Facts

__all__ = ["Origin", "origin"]

_PLACES = {("train", "code"), ("train", "root")}
"""Where files lie on the machine that trained: nobody else's business, and nobody else's command."""


@dataclass(frozen=True)
class Origin:
    """``facts`` are (what, value), a value that is a digest or a command in ``code``; the rest are tables."""

    facts: tuple[tuple[str, str], ...]
    command: str
    code: bool
    environment: tuple[tuple[str, str], ...]
    seconds: tuple[tuple[str, str], ...]
    settings: tuple[tuple[str, str], ...]


def origin(facts: Facts) -> Origin:
    """Return where a run comes from."""
    run, dataset = facts.run, facts.about["dataset"]
    settings = [
        (section, key, value)
        for section, values in configuration.to_mapping(run.config).items()
        for key, value in values.items()
        if (section, key) not in _PLACES
    ]
    train = run.config.train
    dates = [record.date for record in run.stages.values() if record.date]
    trained = run.stages["train"].date if "train" in run.stages else ""
    told = (
        (
            "network",
            f"{train.model}, {'no latent branch' if train.latent == 'none' else f'latent branch {train.latent}'}",
        ),
        ("data", f"{dataset['name']}: {dataset['train']:,} training and {dataset['test']:,} test samples"),
        ("sha256 of the data", dataset["sha256"]),
        ("sha256 of the model", facts.model_sha256),
        ("seed", str(train.seed)),
        ("trained", _date(trained)),
        ("checked", _date(max(dates)) if dates else ""),
    )
    return Origin(
        tuple((name, value) for name, value in told if value),
        _command(facts),
        bool(train.named()),
        tuple((key, text) for key, value in facts.report.environment.items() if (text := _text(value))),
        tuple((name, f"{record.seconds:.1f} s") for name, record in run.stages.items() if record.finished),
        tuple((f"{section}.{key}", str(value)) for section, key, value in settings),
    )


def _command(facts: Facts) -> str:
    """Return the command that repeats the run: what it sets besides the defaults, for the file may be elsewhere."""
    before, after = configuration.to_mapping(Config()), configuration.to_mapping(facts.run.config)
    changed = [
        f"-s {section}.{key}={shlex.quote(_toml(value))}"
        for section, values in after.items()
        for key, value in values.items()
        if before[section][key] != value and (section, key) not in _PLACES
    ]
    return " ".join(["latentbit run-all", *changed, "-o", shlex.quote(f"runs/{facts.run.path.name}")])


def _toml(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _date(iso: str) -> str:
    return iso.replace("T", " ").replace("+00:00", " UTC")


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_text(entry)}" for key, entry in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
