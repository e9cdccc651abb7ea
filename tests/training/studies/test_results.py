"""docs/results.md against its logs: every table there is what the stored runs give."""

import json
from pathlib import Path

import pytest

from latentbit.runtime.metrics import current_names
from latentbit.training.studies.results import render, summarise

DOCS = Path(__file__).parents[3] / "docs"
LOGS = sorted((DOCS / "results").glob("*.jsonl"))
RUNS = sorted((DOCS / "results" / "gpu").glob("*.jsonl"))

pytestmark = pytest.mark.skipif(not LOGS, reason="docs/ is no part of the installed package")


@pytest.mark.parametrize("log", LOGS, ids=lambda path: path.stem)
def test_the_table_of_a_log_stands_in_the_results(log: Path) -> None:
    records = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    variants = list(dict.fromkeys(record["variant"] for record in records))
    budgets = list(dict.fromkeys(record["budget"] for record in records))
    page = (DOCS / "results.md").read_text(encoding="utf-8")
    assert render(summarise(records, variants, budgets)) in page
    assert log.name in page


@pytest.mark.parametrize("log", LOGS, ids=lambda path: path.stem)
def test_logs_are_paired_and_measured_alike(log: Path) -> None:
    records = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    baseline = records[0]["variant"]
    seeds = {record["seed"] for record in records if record["variant"] == baseline}
    assert {record["seed"] for record in records} <= seeds
    assert len({record["dataset_sha256"] for record in records}) == 1
    # Either all on the test images or all on held-out training images, never a mixture.
    assert len({current_names(record)["test_accuracy"] is None for record in records}) == 1


@pytest.mark.parametrize("log", RUNS, ids=lambda path: path.stem)
def test_the_figures_of_a_single_run_stand_in_the_results(log: Path) -> None:
    *epochs, result = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    page = (DOCS / "results.md").read_text(encoding="utf-8")
    assert f"results/gpu/{log.name}" in page
    assert result["command"] in page
    for name in ("test_accuracy", "latent_test_accuracy", "train_accuracy"):
        assert f"| {100 * result[name]:.2f}% |" in page, name
    assert f"| {result['epochs']:.1f}, {result['steps']:,} |" in page
    assert f"| {result['images_per_second']:,.0f} |" in page
    assert len(epochs) == round(result["epochs"] + 0.5)
