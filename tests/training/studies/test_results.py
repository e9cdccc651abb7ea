"""docs/results.md against its logs: every table there is what the stored runs give."""

import json
from pathlib import Path

import pytest

from latentbit.training.studies.ablation import render, summarise

DOCS = Path(__file__).parents[3] / "docs"
LOGS = sorted((DOCS / "results").glob("*.jsonl"))

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
    assert len({record["training"] is None for record in records}) == 1
