"""Ablations: variants of the settings against the first of them, with paired seeds, at equal epochs and equal compute.

A variant is the name of a latent variant, optionally with other settings: ``L1``, ``L1:phi=hardtanh,latent_share=0.5``,
or settings alone: ``weight_estimator=ede``. A name of :data:`.presets.PRESETS` stands for its variants. The first is
the baseline. Runs with the same seed share initial weights, order of images and augmentation, so their difference has
less noise than either figure.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ...runtime.errors import ConfigError, DataError
from ...runtime.files import write_bytes, write_json
from ..loop.checkpoints import read_json, write_lines
from ..loop.trainer import Progress, train
from ..overrides import read_override
from ..settings import LATENT, Settings
from .plots import plot_ablation
from .presets import PRESETS
from .results import BUDGETS, Row, render, summarise
from .stepcost import step_costs

__all__ = ["ablate", "parse_variant"]

LONGER = 1.5
"""How many times as long the control of convergence trains."""
RECORD = "record.json"
"""In the folder of a finished run: its line of ablation.jsonl."""


TYPES = {known.name: type(known.default) for known in fields(Settings)}


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
        _, _, changes[key] = read_override(f"train.{key}={value}", lambda _, name: TYPES.get(name))
    if colon and not changes:
        raise ConfigError(f"variant {text!r} changes nothing")
    return changes


def ablate(
    *,
    variants: Sequence[str],
    seeds: Sequence[int],
    out: str | Path,
    equal_compute: bool = True,
    longer: bool = False,
    progress: Callable[[str, Progress], None] | None = None,
    **settings: Any,
) -> Ablation:
    """Train every variant with every seed and compare; the keywords are those of :func:`..loop.trainer.train`.

    Writes into ``out``: a folder a run, ablation.jsonl (a line a run), table.md and plot.png. Started again it skips
    finished runs and resumes a broken one; DataError if ``out`` holds an ablation of other settings. Processes with
    other seeds may work in the same folder at the same time.

    equal_compute: run each variant a second time with the epochs that cost the baseline's time, by step times measured
        here and now, interleaved.
    longer: run all once more with 1.5 times the epochs. A schedule has converged where that changes
        nothing.
    progress: is called with the name of the run.
    """
    variants = [name for given in variants for name in PRESETS.get(given, (given,))]
    if len(variants) < 2 or len(set(variants)) < len(variants) or not seeds or len(set(seeds)) < len(seeds):
        raise ConfigError("an ablation needs at least two different variants and one seed, none of them twice")
    base = Settings.from_keywords(**settings)
    chosen = {variant: base.as_dict() | parse_variant(variant) for variant in variants}
    for values in chosen.values():
        Settings.from_keywords(**values)
    folder = Path(out)
    plan = _load_plan(folder, base, list(variants), chosen)
    budgets = ["epochs", *(["compute"] if equal_compute else []), *(["longer"] if longer else [])]
    records = _records(folder, variants)
    for budget in budgets:
        for seed in seeds:
            for variant in variants[1:] if budget == "compute" else variants:
                name = f"{variants.index(variant)}-{budget}-{seed}"
                if (folder / "runs" / name / RECORD).exists():
                    continue
                cost = plan["costs"][variant]
                shares = {"epochs": 1.0, "compute": 1 / cost, "longer": LONGER}
                label = f"{variant} ({budget}, seed {seed})"
                result = train(
                    out=folder / "runs" / name,
                    progress=None if progress is None else lambda p, label=label: progress(label, p),  # type: ignore[misc]
                    **chosen[variant] | {"seed": seed, "epochs": max(1, round(base.epochs * shares[budget]))},
                )
                record = {"variant": variant, "budget": budget, "seed": seed, "cost": cost, "run": name}
                write_json(folder / "runs" / name / RECORD, record | result.metrics)
                records = _records(folder, variants)
                write_lines(folder / "ablation.jsonl", records)
    rows = summarise(records, variants, [budget for budget in BUDGETS if any(r["budget"] == budget for r in records)])
    table = render(rows)
    write_bytes(folder / "table.md", table.encode())
    plot_ablation(rows, records, folder / "plot.png")
    return Ablation(folder, tuple(rows), tuple(records), table)


def _records(folder: Path, variants: Sequence[str]) -> list[dict[str, Any]]:
    """Return the records of all finished runs in the folder, whichever process trained them, in a fixed order."""
    found = [read_json(path) for path in (folder / "runs").glob(f"*/{RECORD}")]
    budgets = list(BUDGETS)
    return sorted(found, key=lambda r: (budgets.index(r["budget"]), r["seed"], variants.index(r["variant"])))


def _load_plan(folder: Path, base: Settings, variants: list[str], chosen: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return settings and measured step costs, from the folder if it holds the same ablation."""
    path = folder / "plan.json"
    stated = {"settings": base.as_dict() | {"seed": 0}, "variants": variants}
    if not path.exists():
        costs = step_costs(chosen)
        if not path.exists():  # another process may have been quicker: all of an ablation's runs go by the same costs
            write_json(path, stated | {"costs": costs})
    plan = read_json(path)
    if {name: plan.get(name) for name in stated} != stated:
        raise DataError(f"{folder} holds an ablation of other settings or variants: choose another folder")
    return plan
