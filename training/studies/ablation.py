"""Ablations: variants of the settings against the first of them, with paired seeds, at equal epochs and equal compute.

A variant is the name of a latent variant, optionally with other settings: ``L1``, ``L1:phi=hardtanh,latent_share=0.5``,
or settings alone: ``weight_estimator=ede``. The first is the baseline. Runs with the same seed share initial weights,
order of images and augmentation, so their difference has less noise than either figure.
"""

import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...runtime.errors import ConfigError, DataError
from ...runtime.files import parse_json, write_bytes
from ..loop.checkpoints import write_lines
from ..loop.trainer import Progress, train
from ..settings import LATENT, Settings
from .plots import plot_ablation
from .results import Row, render, summarise
from .stepcost import step_costs

__all__ = ["ablate", "parse_variant"]


@dataclass(frozen=True)
class Ablation:
    """The result: its rows, the raw records of all runs, and the same as a Markdown table."""

    folder: Path
    rows: tuple[Row, ...]
    records: tuple[dict[str, Any], ...]
    table: str


def parse_variant(text: str) -> dict[str, Any]:
    """Return the settings that a variant changes; ConfigError for anything but ``[LATENT:]key=value,…``."""
    head, colon, tail = text.partition(":")
    if head in LATENT:
        changes: dict[str, Any] = {"latent": head}
    else:
        changes, colon, tail = {}, ":", text
    for part in filter(None, tail.split(",")):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or not key:
            raise ConfigError(f"variant {text!r}: write one of {', '.join(LATENT)}, then :key=value,key=value")
        try:
            changes[key] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            changes[key] = value
    if colon and not changes:
        raise ConfigError(f"variant {text!r} changes nothing")
    return changes


def ablate(
    *,
    variants: Sequence[str],
    seeds: Sequence[int],
    out: str | Path,
    equal_compute: bool = True,
    progress: Callable[[str, Progress], None] | None = None,
    **settings: Any,
) -> Ablation:
    """Train every variant with every seed and compare; the keywords are those of :func:`..loop.trainer.train`.

    Writes into ``out``: a folder a run, ablation.jsonl (a line a run), table.md and plot.png. Started again it skips
    finished runs and resumes a broken one; DataError if ``out`` holds an ablation of other settings. With
    ``equal_compute`` each variant runs a second time with the epochs that cost the baseline's time, by step times
    measured here and now, interleaved. ``progress`` is called with the name of the run.
    """
    if len(variants) < 2 or len(set(variants)) < len(variants) or not seeds or len(set(seeds)) < len(seeds):
        raise ConfigError("an ablation needs at least two different variants and one seed, none of them twice")
    base = Settings.from_keywords(**settings)
    chosen = {variant: base.as_dict() | parse_variant(variant) for variant in variants}
    for values in chosen.values():
        Settings.from_keywords(**values)
    folder = Path(out)
    plan = _load_plan(folder, base, list(variants), chosen)
    records = _read_lines(folder / "ablation.jsonl")
    done = {(record["variant"], record["budget"], record["seed"]) for record in records}
    budgets = ["epochs", "compute"] if equal_compute else ["epochs"]
    for budget in budgets:
        for seed in seeds:
            for variant in variants[1:] if budget == "compute" else variants:
                if (variant, budget, seed) in done:
                    continue
                cost = plan["costs"][variant]
                epochs = base.epochs if budget == "epochs" else max(1, round(base.epochs / cost))
                name = f"{variants.index(variant)}-{budget}-{seed}"
                label = f"{variant} ({budget}, seed {seed})"
                result = train(
                    out=folder / "runs" / name,
                    progress=None if progress is None else lambda p, label=label: progress(label, p),  # type: ignore[misc]
                    **chosen[variant] | {"seed": seed, "epochs": epochs},
                )
                records.append(
                    {"variant": variant, "budget": budget, "seed": seed, "cost": cost, "run": name} | result.metrics
                )
                write_lines(folder / "ablation.jsonl", records)
    rows = summarise(records, variants, budgets)
    table = render(rows)
    write_bytes(folder / "table.md", table.encode())
    plot_ablation(rows, records, folder / "plot.png")
    return Ablation(folder, tuple(rows), tuple(records), table)


def _load_plan(folder: Path, base: Settings, variants: list[str], chosen: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return settings and measured step costs, from the folder if it holds the same ablation."""
    path = folder / "plan.jsonl"
    stated = {"settings": base.as_dict() | {"seed": 0}, "variants": variants}
    found = _read_lines(path)
    if found:
        if {name: found[0].get(name) for name in stated} != stated:
            raise DataError(f"{folder} holds an ablation of other settings or variants: choose another folder")
        return found[0]
    plan = stated | {"costs": step_costs(chosen)}
    write_lines(path, [plan])
    return plan


def _read_lines(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    try:
        return [parse_json(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}): delete it and run the ablation again") from error
