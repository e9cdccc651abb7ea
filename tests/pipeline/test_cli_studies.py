"""The commands that compare trainings: what they hand to the library, and what they refuse."""

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from latentbit.pipeline.cli import cli
from latentbit.pipeline.paths import STUDY
from latentbit.pipeline.reporting.facts import read_facts
from latentbit.pipeline.reporting.features import features
from latentbit.pipeline.rundir import RunDir
from latentbit.runtime.errors import DataError, RunDirError

from .conftest import pipeline

torch = pytest.importorskip("torch")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return what the command asked of ``ablate``, which answers at once."""
    from latentbit.training.studies import ablation

    keywords: dict[str, Any] = {}

    def ablate(**given: Any) -> SimpleNamespace:
        keywords.update(given)
        given["progress"]("L1 (seed 0)", SimpleNamespace(epoch=0, epochs=1, step=1, steps=2))
        return SimpleNamespace(table="| the table |", folder=given["out"], rows=())

    monkeypatch.setattr(ablation, "ablate", ablate)
    return keywords


def configuration(folder: Path) -> str:
    file = folder / "small.toml"
    file.write_text("[train]\nepochs = 5\n")
    return str(file)


def test_ablate_hands_on_the_section_variants_and_seeds(asked: dict[str, Any], tmp_path: Path) -> None:
    config = configuration(tmp_path)
    done = CliRunner().invoke(cli, ["ablate", config, "--seeds", "3,4", "-s", "train.width=8", "--epochs-only"])
    assert done.exit_code == 0, done.output
    assert "| the table |" in done.output
    assert (asked["variants"], asked["seeds"]) == (["none", "L1"], [3, 4])
    assert (asked["epochs"], asked["width"], asked["equal_compute"]) == (5, 8, False)
    assert asked["out"] == Path("runs/small-ablation")
    assert "seed" not in asked


def test_variants_with_commas_are_separated_by_semicolons(asked: dict[str, Any], tmp_path: Path) -> None:
    variants = "none; L1:phi=hardtanh,mu=0.5"
    CliRunner().invoke(cli, ["ablate", configuration(tmp_path), "--variants", variants, "-o", str(tmp_path / "a")])
    assert asked["variants"] == ["none", "L1:phi=hardtanh,mu=0.5"]
    assert asked["equal_compute"] is True


def test_ablate_refuses(tmp_path: Path) -> None:
    config = configuration(tmp_path)
    for arguments, words in (
        (["ablate", config, "--seeds", "one"], "give whole numbers"),
        (["ablate", str(tmp_path / "none.toml")], "No such file"),
        (["ablate", config, "--variants", "none,L9", "-o", str(tmp_path / "a")], "L9"),
    ):
        done = pipeline(*arguments)
        assert done.returncode == 2, done.stderr
        assert words in done.stderr
        assert "Traceback" not in done.stderr


def test_separability_of_a_real_run(finished: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    done = pipeline("separability", str(run), "-o", str(tmp_path / "s"), "--images", "60")
    assert done.returncode == 0, done.stderr
    assert "silhouette" in done.stdout
    assert {"separability.json", "tsne.png", "features.json"} <= {path.name for path in (tmp_path / "s").iterdir()}
    shown = features(read_facts(RunDir.open(run)))
    assert shown is not None
    assert shown.images == 60
    ((title, figures, chart),) = shown.charts
    assert title == "run, latent branch L1"
    assert "silhouette" in figures
    assert chart.count("<use") >= 60
    (run / STUDY).write_text('{"version": 9}')
    with pytest.raises(DataError, match="another version"):
        read_facts(RunDir.open(run))


def test_separability_needs_a_finished_training(tmp_path: Path) -> None:
    RunDir(tmp_path / "run").save()
    done = CliRunner().invoke(cli, ["separability", str(tmp_path / "run"), "-o", str(tmp_path / "s")])
    assert isinstance(done.exception, RunDirError)
    assert "has no finished training" in str(done.exception)
