"""The conductor: which stages run, and why; with stages of a few bytes in the place of the real ones."""

import dataclasses
import io
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from latentbit.pipeline import conductor
from latentbit.pipeline import config as configuration
from latentbit.pipeline.conductor import conduct, plan_stages
from latentbit.pipeline.progress import StageProgress, Step
from latentbit.pipeline.rundir import RunDir
from latentbit.pipeline.sections import Config
from latentbit.pipeline.stages import Stage
from latentbit.runtime.errors import RunDirError

Bench = Callable[..., list[str]]


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Bench:
    """Return a function that conducts toy stages in one run and returns the names of those that ran."""
    ran: list[str] = []

    def writer(name: str, output: str, content: Callable[[RunDir], str]) -> Callable[[RunDir, Step], None]:
        def perform(run: RunDir, step: Step) -> None:
            ran.append(name)
            step(1, 1, "all")
            (run.path / output).write_text(content(run))

        return perform

    stages = (
        Stage("train", "1", (), ("1/a",), writer("train", "1/a", lambda run: f"epochs {run.config.train.epochs}")),
        Stage("fold", "2", ("1/a",), ("2/b",), writer("fold", "2/b", lambda run: str(run.config.fold.samples > 10))),
        Stage("report", ".", ("2/b",), ("c",), writer("report", "c", lambda run: "page")),
    )
    monkeypatch.setattr(conductor, "STAGES", stages)

    def start(*overrides: str, first: str = "train", last: str = "report", force: bool = False) -> list[str]:
        ran.clear()
        run = RunDir.open(tmp_path / "run")
        config = configuration.read(None, overrides, run.config if run.exists else Config())
        progress = StageProgress(Console(file=io.StringIO()))
        conduct(run, config, progress, first=first, last=last, force=force)
        return list(ran)

    return start


def test_all_then_nothing(bench: Bench, tmp_path: Path) -> None:
    assert bench() == ["train", "fold", "report"]
    assert bench() == []
    assert [plan.reason for plan in plan_stages(RunDir.open(tmp_path / "run"))] == ["", "", ""]


def test_a_changed_section_runs_its_stage_and_what_depends_on_it(bench: Bench) -> None:
    bench()
    assert bench("train.epochs=3") == ["train", "fold"], "fold wrote the same bytes, so report stays fresh"
    assert bench("fold.samples=5") == ["fold", "report"]
    assert bench("check.oracle_samples=5") == []


def test_a_key_that_a_later_version_added_leaves_an_old_run_fresh(bench: Bench, tmp_path: Path) -> None:
    bench()
    run = RunDir.open(tmp_path / "run")
    old = run.stages["train"]
    less = {key: value for key, value in old.section.items() if key != "label_smoothing"}
    run.stages["train"] = dataclasses.replace(old, section=less)
    run.save()
    assert bench() == []
    assert bench("train.epochs=2")[0] == "train"


def test_a_lost_or_altered_file_is_made_again(bench: Bench, tmp_path: Path) -> None:
    bench()
    (tmp_path / "run/2/b").unlink()
    assert bench() == ["fold"]
    (tmp_path / "run/1/a").write_text("other")
    assert bench() == ["train"]
    (tmp_path / "run/c").write_text("other")
    assert bench() == ["report"]


def test_until_from_and_force(bench: Bench) -> None:
    assert bench(last="fold") == ["train", "fold"]
    assert bench(first="fold") == ["report"]
    assert bench(first="fold", force=True) == ["fold", "report"]
    assert bench(first="fold", last="fold", force=True) == ["fold"]


def test_from_refuses_when_an_earlier_stage_is_missing(bench: Bench) -> None:
    with pytest.raises(RunDirError, match=r"stage train .* is not complete \(not done yet\)"):
        bench(first="fold")


def test_an_interrupted_stage_keeps_its_folder_unless_its_section_changed(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []

    def broken(run: RunDir, step: Step) -> None:
        checkpoint = run.path / "1/checkpoint"
        seen.append(checkpoint.exists())
        checkpoint.touch()
        raise KeyboardInterrupt

    monkeypatch.setattr(conductor, "STAGES", (Stage("train", "1", (), ("1/a",), broken),))
    for override in ("train.epochs=3", "train.epochs=3", "train.epochs=4"):
        with pytest.raises(KeyboardInterrupt):
            bench(override, last="train")
    assert seen == [False, True, False]
    assert plan_stages(RunDir.open(tmp_path / "run"))[0].reason == "it was interrupted"


def test_a_stage_that_does_not_write_its_output_is_a_defect(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    lazy = Stage("train", "1", (), ("1/a",), lambda run, step: None)
    monkeypatch.setattr(conductor, "STAGES", (lazy,))
    with pytest.raises(AssertionError, match="stage train did not write 1/a"):
        bench(last="train")
