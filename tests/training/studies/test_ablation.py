"""Ablations: parsing, pairing, resumption, tables; separability of features."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn

from latentbit.runtime.errors import ConfigError, DataError, UnsupportedError
from latentbit.training.loop.trainer import load_network, train
from latentbit.training.models.catalogue import build_model
from latentbit.training.settings import Settings
from latentbit.training.studies import ablation
from latentbit.training.studies.ablation import ablate, parse_variant
from latentbit.training.studies.presets import PRESETS
from latentbit.training.studies.results import render, summarise
from latentbit.training.studies.separability import features_of, lda_trace, separability
from latentbit.training.studies.stepcost import phases, step_costs

QUICK: dict[str, Any] = {"epochs": 2, "width": 4, "batch_size": 256, "threads": 1}


@pytest.mark.parametrize(
    ("text", "changes"),
    [
        ("L1", {"latent": "L1"}),
        ("L1:phi=hardtanh,latent_share=0.5", {"latent": "L1", "phi": "hardtanh", "latent_share": 0.5}),
        ("beta=0.3, latent_every=2", {"beta": 0.3, "latent_every": 2}),
        ("none", {"latent": "none"}),
        ("none:bits=4321,block=pair", {"latent": "none", "bits": "4321", "block": "pair"}),
    ],
)
def test_variants_are_parsed(text: str, changes: dict[str, Any]) -> None:
    assert parse_variant(text) == changes


@pytest.mark.parametrize("text", ["L9", "L1:phi", "L1:=3", ""])
def test_other_variants_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="variant"):
        parse_variant(text)


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_stands_for_its_variants(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def costs(variants: dict[str, Any]) -> dict[str, float]:
        seen.extend(variants)
        for settings in variants.values():
            build_model("digits_resnet", width=4, **{k: settings[k] for k in ("block", "norm") if settings[k]})
        raise KeyboardInterrupt

    monkeypatch.setattr(ablation, "step_costs", costs)
    with pytest.raises(KeyboardInterrupt):
        ablate(variants=[name], seeds=[0], out=tmp_path, **QUICK)
    assert tuple(seen) == PRESETS[name]


def test_an_ablation_pairs_seeds_and_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ablation, "step_costs", lambda variants: {"none": 1.0, "L1": 2.0})
    seen: list[str] = []
    result = ablate(
        variants=["none", "L1"],
        seeds=[0, 1],
        out=tmp_path,
        progress=lambda label, p: seen.append(label),
        **QUICK,
    )
    assert [(r.variant, r.budget, r.seeds, r.epochs) for r in result.rows] == [
        ("none", "epochs", 2, 2),
        ("L1", "epochs", 2, 2),
        ("L1", "compute", 2, 1),
    ]
    lines = [json.loads(line) for line in (tmp_path / "ablation.jsonl").read_text().splitlines()]
    assert len(lines) == 6
    by_key = {(r["variant"], r["budget"], r["seed"]): 100 * r["test_accuracy"] for r in lines}
    gains = [by_key["L1", "epochs", seed] - by_key["none", "epochs", seed] for seed in (0, 1)]
    assert result.rows[1].gain == pytest.approx(np.mean(gains))
    assert result.rows[1].gain_error == pytest.approx(np.std(gains, ddof=1) / math.sqrt(2))
    assert result.rows[1].latent_accuracy is not None
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "table.md").read_text() == result.table
    assert {"none (epochs, seed 0)", "L1 (compute, seed 1)"} <= set(seen)
    # A third seed is added; what is there is not trained again.
    seen.clear()
    more = ablate(
        variants=["none", "L1"],
        seeds=[0, 1, 2],
        out=tmp_path,
        progress=lambda label, p: seen.append(label),
        **QUICK,
    )
    assert set(seen) == {"none (epochs, seed 2)", "L1 (epochs, seed 2)", "L1 (compute, seed 2)"}
    assert more.rows[0].seeds == 3
    with pytest.raises(DataError, match="holds an ablation of other settings"):
        ablate(variants=["none", "L1"], seeds=[0], out=tmp_path, **QUICK | {"epochs": 3})


def test_processes_with_other_seeds_work_in_one_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second process finishes all of its runs while the first one is in its own: both are in the result of each."""
    monkeypatch.setattr(ablation, "step_costs", lambda variants: {"none": 1.0, "L1": 2.0})
    arguments: dict[str, Any] = {"variants": ["none", "L1"], "out": tmp_path, "equal_compute": False, **QUICK}
    seen: list[str] = []

    def other_process(label: str, event: Any) -> None:
        if not seen:
            ablate(seeds=[1], progress=lambda label, p: seen.append(label), **arguments)

    result = ablate(seeds=[0], progress=other_process, **arguments)
    assert set(seen) == {"none (epochs, seed 1)", "L1 (epochs, seed 1)"}
    assert [(r["variant"], r["seed"]) for r in result.records] == [("none", 0), ("L1", 0), ("none", 1), ("L1", 1)]
    lines = [json.loads(line) for line in (tmp_path / "ablation.jsonl").read_text().splitlines()]
    assert lines == list(result.records)


def test_a_killed_run_of_an_ablation_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ablation, "step_costs", lambda variants: {"none": 1.0, "L1": 2.0})
    arguments: dict[str, Any] = {"variants": ["none", "L1"], "seeds": [0], "equal_compute": False, **QUICK}

    def kill(label: str, event: Any) -> None:
        if label.startswith("L1") and event.epoch == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ablate(out=tmp_path / "killed", progress=kill, **arguments)
    epochs: list[tuple[str, int]] = []
    again = ablate(out=tmp_path / "killed", progress=lambda label, e: epochs.append((label, e.epoch)), **arguments)
    assert set(epochs) == {("L1 (epochs, seed 0)", 1)}, "neither the finished run nor the first epoch was repeated"
    whole = ablate(out=tmp_path / "whole", **arguments)
    assert [r["test_accuracy"] for r in again.records] == [r["test_accuracy"] for r in whole.records]


def test_the_control_of_convergence_trains_all_for_half_as_long_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ablation, "step_costs", lambda variants: {"none": 1.0, "L1": 2.0})
    result = ablate(variants=["none", "L1"], seeds=[0, 1], out=tmp_path, equal_compute=False, longer=True, **QUICK)
    assert [(r.variant, r.budget, r.epochs) for r in result.rows] == [
        ("none", "epochs", 2),
        ("L1", "epochs", 2),
        ("none", "longer", 3),
        ("L1", "longer", 3),
    ]
    found = {(r["variant"], r["budget"], r["seed"]): 100 * r["test_accuracy"] for r in result.records}
    own = [found["none", "longer", s] - found["none", "epochs", s] for s in (0, 1)]
    assert result.rows[2].gain == pytest.approx(np.mean(own)), "the baseline is compared with its own shorter run"
    gains = [found["L1", "longer", s] - found["none", "longer", s] for s in (0, 1)]
    assert result.rows[3].gain == pytest.approx(np.mean(gains)), "a variant with the baseline that trained as long"
    assert "| none | 1.5 × epochs | 2 | 3 |" in result.table


def test_an_ablation_on_held_out_data_reports_validation(tmp_path: Path) -> None:
    settings = QUICK | {"epochs": 1, "holdout": 0.1}
    result = ablate(variants=["none", "learning_rate=0.02"], seeds=[0], out=tmp_path, equal_compute=False, **settings)
    assert [r["test_accuracy"] for r in result.records] == [None, None]
    assert result.rows[1].accuracy == pytest.approx(100 * result.records[1]["validation_accuracy"])
    assert math.isnan(result.rows[0].error)


@pytest.mark.parametrize(("variants", "seeds"), [(["none"], [0]), (["L1", "L1"], [0]), (["none", "L1"], [])])
def test_an_ablation_needs_something_to_compare(variants: list[str], seeds: list[int], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="at least two different variants"):
        ablate(variants=variants, seeds=seeds, out=tmp_path)


def test_the_table_shows_no_gain_as_no_gain() -> None:
    record = {"budget": "epochs", "epochs": 3, "cost": 1.0, "seconds": 2.0, "latent_test_accuracy": None}
    records = [
        record | {"variant": name, "seed": seed, "test_accuracy": value}
        for name, values in (("none", (0.9, 0.92)), ("L1", (0.89, 0.91)))
        for seed, value in enumerate(values)
    ]
    for r in records:
        r["latent_validation_accuracy"] = None
    table = render(summarise(records, ["none", "L1"], ["epochs"]))
    assert "| L1 | epochs | 2 | 3 | 90.00 ± 1.00 | -1.00 ± 0.00 |" in table


def test_step_costs_are_relative_to_the_first() -> None:
    base = {"width": 8, "batch_size": 256, "latent": "none"}
    costs = step_costs({"none": base, "L1": base | {"latent": "L1"}})
    assert costs["none"] == 1.0
    assert costs["L1"] > 1.1


def test_step_costs_are_those_of_the_whole_schedule() -> None:
    """A stream in a part of the schedule costs that part, wherever it lies."""
    assert phases(Settings(latent="L1", latent_from=0.6, real_weight_until=0.5)) == [(0, 0.5), (0.5, 0.6), (0.6, 1)]
    assert phases(Settings(latent="L5", fade=0.7)) == [(0, 0.7), (0.7, 1)]
    base = {"width": 8, "batch_size": 64, "latent": "L1"}
    late, early = base | {"latent_from": 0.8}, base | {"latent_until": 0.2}
    costs = step_costs({"none": base | {"latent": "none"}, "L1": base, "late": late, "early": early})
    for name in ("late", "early"):
        assert costs[name] == pytest.approx(1 + 0.2 * (costs["L1"] - 1), abs=0.2)


def test_lda_trace_grows_with_the_distance_between_classes() -> None:
    random = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), 50)
    noise = random.normal(size=(150, 4))
    near, far = (lda_trace(noise + distance * np.eye(3, 4)[labels], labels) for distance in (1.0, 4.0))
    assert far > 5 * near
    assert lda_trace(10 * noise, labels) == pytest.approx(lda_trace(noise, labels), rel=1e-6)


def test_separability_of_real_checkpoints(tmp_path: Path) -> None:
    folders = {latent: train(out=tmp_path / latent, latent=latent, **QUICK).folder for latent in ("none", "L1")}
    found = separability(folders, tmp_path / "out", data="digits", images=100)
    assert list(found) == ["none", "L1"]
    assert all(0 < figures.linear_probe <= 1 and figures.lda_trace > 0 for figures in found.values())
    assert (tmp_path / "out" / "tsne.png").read_bytes().startswith(b"\x89PNG")
    stored = json.loads((tmp_path / "out" / "separability.json").read_text())
    assert stored["L1"]["lda_trace"] == pytest.approx(found["L1"].lda_trace)
    network = load_network(folders["L1"])
    inputs = np.random.default_rng(0).normal(size=(7, 1, 8, 8)).astype(np.float32)
    assert features_of(network, inputs).shape == (7, 8)


def test_separability_refuses_a_network_that_ends_otherwise() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.ReLU())
    with pytest.raises(UnsupportedError, match="Sequential does not end in a dense layer"):
        features_of(network, np.zeros((3, 1, 8, 8), np.float32))


def test_separability_refuses_networks_of_other_data(tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_text('{"dataset_sha256": "other"}')
    with pytest.raises(DataError, match="trained on other data"):
        separability({"x": tmp_path}, tmp_path, data="digits")
