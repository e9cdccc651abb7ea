"""The conductor: which stages run, and why; with stages of a few bytes in the place of the real ones."""

import dataclasses
import io
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from latentbit.pipeline import config as configuration
from latentbit.pipeline.conductor import conduct, plan_stages
from latentbit.pipeline.progress import StageProgress
from latentbit.pipeline.rundir import RunDir
from latentbit.pipeline.sections import Config
from latentbit.pipeline.stages import Stage
from latentbit.runtime.errors import RunDirError
from latentbit.runtime.terminal import Step


class Toy:
    """A run of toy stages, which note that they ran and write a few bytes."""

    def __init__(self, path: Path) -> None:
        self.path, self.ran = path, list[str]()
        self.stages: tuple[Stage, ...] = (
            self.stage("train", "1", (), "1/a", lambda run: f"epochs {run.config.train.epochs}"),
            self.stage("fold", "2", ("1/a",), "2/b", lambda run: str(run.config.fold.samples > 10)),
            self.stage("report", ".", ("2/b",), "c", lambda run: "page"),
        )

    def stage(
        self, name: str, folder: str, inputs: tuple[str, ...], output: str, content: Callable[[RunDir], str]
    ) -> Stage:
        def perform(run: RunDir, step: Step) -> None:
            self.ran.append(name)
            step(1, 1, "all")
            (run.path / output).write_text(content(run))

        return Stage(name, folder, inputs, (output,), perform)

    def __call__(self, *overrides: str, first: str = "train", last: str = "report", force: bool = False) -> list[str]:
        """Conduct the stages and return the names of those that ran."""
        self.ran.clear()
        run = RunDir.open(self.path)
        config = configuration.read(None, overrides, run.config if run.exists else Config())
        progress = StageProgress(Console(file=io.StringIO()))
        conduct(run, self.stages, config, progress, first=first, last=last, force=force)
        return list(self.ran)

    def reasons(self) -> list[str]:
        return [plan.reason for plan in plan_stages(RunDir.open(self.path), self.stages)]


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    return Toy(tmp_path / "run")


def test_all_then_nothing(toy: Toy) -> None:
    assert toy() == ["train", "fold", "report"]
    assert toy() == []
    assert toy.reasons() == ["", "", ""]


def test_a_changed_section_runs_its_stage_and_what_depends_on_it(toy: Toy) -> None:
    toy()
    assert toy("train.epochs=3") == ["train", "fold"], "fold wrote the same bytes, so report stays fresh"
    assert toy("fold.samples=5") == ["fold", "report"]
    assert toy("check.oracle_samples=5") == []


def test_a_key_that_a_later_version_added_leaves_an_old_run_fresh(toy: Toy) -> None:
    toy()
    run = RunDir.open(toy.path)
    old = run.stages["train"]
    less = {key: value for key, value in old.section.items() if key != "label_smoothing"}
    run.stages["train"] = dataclasses.replace(old, section=less)
    run.save()
    assert toy() == []
    assert toy("train.epochs=2")[0] == "train"


def test_a_lost_or_altered_file_is_made_again(toy: Toy) -> None:
    toy()
    (toy.path / "2/b").unlink()
    assert toy() == ["fold"]
    (toy.path / "1/a").write_text("other")
    assert toy() == ["train"]
    (toy.path / "c").write_text("other")
    assert toy() == ["report"]


def test_until_from_and_force(toy: Toy) -> None:
    assert toy(last="fold") == ["train", "fold"]
    assert toy(first="fold") == ["report"]
    assert toy(first="fold", force=True) == ["fold", "report"]
    assert toy(first="fold", last="fold", force=True) == ["fold"]


def test_from_refuses_when_an_earlier_stage_is_missing(toy: Toy) -> None:
    with pytest.raises(RunDirError, match=r"stage train .* is not complete \(not done yet\)"):
        toy(first="fold")


def test_an_interrupted_stage_keeps_its_folder_unless_its_section_changed(toy: Toy) -> None:
    seen: list[bool] = []

    def broken(run: RunDir, step: Step) -> None:
        checkpoint = run.path / "1/checkpoint"
        seen.append(checkpoint.exists())
        checkpoint.touch()
        raise KeyboardInterrupt

    toy.stages = (Stage("train", "1", (), ("1/a",), broken),)
    for override in ("train.epochs=3", "train.epochs=3", "train.epochs=4"):
        with pytest.raises(KeyboardInterrupt):
            toy(override, last="train")
    assert seen == [False, True, False]
    assert toy.reasons() == ["it was interrupted"]


def test_a_stage_that_does_not_write_its_output_is_a_defect(toy: Toy) -> None:
    toy.stages = (Stage("train", "1", (), ("1/a",), lambda run, step: None),)
    with pytest.raises(AssertionError, match="stage train did not write 1/a"):
        toy(last="train")
