"""``pipeline zoo``, ``zoo:NAME`` for a path, and ``tools/publish.py``: publishing a run, and the page of cards."""

import dataclasses
import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

import onnx
import pytest

from latentbit.pipeline.cards import OVERVIEW, card_rows
from latentbit.pipeline.cli import main
from latentbit.pipeline.paths import MODEL
from latentbit.pipeline.rundir import RunDir
from latentbit.pipeline.summary import read_report
from latentbit.runtime import zoo
from latentbit.runtime.errors import ConfigError, LatentbitError, RunDirError
from latentbit.runtime.proof.bundle import open_bundle
from latentbit.runtime.zoo import catalogue

ROOT = Path(__file__).parents[2]
RECIPE = ROOT / "configs" / "digits.toml"


def load_maker() -> Any:
    """Return ``tools/publish.py`` as a module; ``tools`` is no package."""
    spec = importlib.util.spec_from_file_location("publish", ROOT / "tools" / "publish.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


maker = load_maker()


def run(*arguments: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    captured = capsys.readouterr()
    assert isinstance(ended.value.code, int)
    return ended.value.code, captured.out, captured.err


def test_the_list_has_every_model(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run("zoo", capsys=capsys)
    assert (code, err) == (0, "")
    assert all(word in out for word in (*OVERVIEW, *zoo.names()))
    code, out, _ = run("zoo", "--json", capsys=capsys)
    assert code == 0
    assert [card["name"] for card in json.loads(out)["models"]] == list(zoo.names())


@pytest.mark.parametrize("name", zoo.names())
def test_a_card_is_shown_whole(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run("zoo", name, capsys=capsys)
    card = zoo.card(name)
    assert (code, err) == (0, "")
    assert all(what in out for what, _ in card_rows(card))
    assert card.sha256 in out
    code, out, _ = run("zoo", name, "--json", capsys=capsys)
    shown = json.loads(out)
    assert Path(shown.pop("path")) == zoo.path(name)
    assert shown == json.loads(json.dumps(dataclasses.asdict(card)))


def test_commands_take_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run("inspect", "zoo:digits", "--json", capsys=capsys)
    assert code == 0
    assert json.loads(out)["path"] == str(zoo.path("digits"))
    code, out, _ = run("bench", "zoo:digits", "--runs", "2", "--json", capsys=capsys)
    assert code == 0
    assert json.loads(out)["model"] == str(zoo.path("digits"))
    code, _, _ = run("convert", "zoo:digits", str(tmp_path / "plain.onnx"), "--inline", capsys=capsys)
    assert code == 0
    assert not onnx.load(tmp_path / "plain.onnx").functions


@pytest.mark.parametrize("arguments", [("zoo", "digit"), ("inspect", "zoo:digit"), ("bench", "zoo:digit")])
def test_a_wrong_name_is_one_line(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(*arguments, capsys=capsys)
    assert (code, out) == (1, "")
    assert err == "error: the zoo has no model 'digit': did you mean 'digits'?\n"


def test_the_page_is_what_the_cards_say() -> None:
    page = (ROOT / "docs" / "zoo.md").read_text(encoding="utf-8")
    assert page == maker.page(maker.read_cards()), "run: python tools/publish.py"
    assert all(f"### {name}\n" in page for name in zoo.names())


def test_publishing_writes_model_card_and_sample(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published = maker.publish(RunDir.open(finished), RECIPE, "short", tmp_path)
    written = sorted(str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*") if file.is_file())
    assert written == ["runtime/zoo/short.json", "runtime/zoo/short.onnx", "tests/data/zoo/short.zip"]
    monkeypatch.setattr(catalogue, "FOLDER", tmp_path / "runtime/zoo")
    assert zoo.names() == ("short",)
    assert zoo.card("short") == published == maker.read_cards(tmp_path)[0]
    with open_bundle(tmp_path / "tests/data/zoo/short.zip") as sample:
        assert sample.model.read_bytes() == zoo.path("short").read_bytes() == (finished / MODEL).read_bytes()
        assert sample.manifest["samples"] == 50
    assert (published.epochs, published.test_images, published.reference_images) == (3, 539, 539)
    assert published.command == (
        "pipeline run-all -c configs/digits.toml -s train.epochs=3 -s check.oracle_samples=4 -s check.latency_runs=20"
    )
    report = json.loads((finished / "5-check/report.json").read_text())
    assert published.latency_ms["latentbit"]["median"] == report["latency_ms"]["latentbit"]["median"]
    assert published.accuracy["deployed"] == report["accuracy"]["deployed"]
    again = maker.publish(RunDir.open(finished), RECIPE, "short", tmp_path)
    assert again == published, "a model of that name is replaced"


def test_what_does_not_belong_in_the_zoo_is_refused(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(error: type[LatentbitError], words: str, **changes: Any) -> None:
        given = {"run": RunDir.open(finished), "recipe": RECIPE, "name": "short", "root": tmp_path / "out", **changes}
        with pytest.raises(error, match=words):
            maker.publish(**given)
        assert not (tmp_path / "out").exists()

    refused(ConfigError, "is no name for a model", name="../short")
    refused(ConfigError, "is not in", recipe=tmp_path / "digits.toml")
    refused(RunDirError, "stage train of .* is not complete", run=RunDir.open(tmp_path / "none"))
    held = RunDir.open(finished)
    held.config = dataclasses.replace(held.config, train=dataclasses.replace(held.config.train, holdout=0.1))
    refused(RunDirError, "held-out training images", run=held)
    altered = tmp_path / "altered"
    shutil.copytree(finished, altered)
    (altered / MODEL).write_bytes((altered / MODEL).read_bytes() + b" ")
    refused(RunDirError, "stage export of .* is not complete", run=RunDir.open(altered))
    with monkeypatch.context() as patch:
        patch.setattr(maker, "LARGEST", 1000)
        refused(RunDirError, "a model of the zoo at most 1,000")
    report = read_report(RunDir.open(finished))
    assert report is not None
    failed = dataclasses.replace(report, failures=("too slow",))
    monkeypatch.setattr(maker, "read_report", lambda run: failed)
    refused(RunDirError, "has not passed")
