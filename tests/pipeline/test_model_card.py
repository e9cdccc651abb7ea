"""The model card: metadata that the hub's own code reads, and a folder that can be checked where it lands."""

import json
import sys
from pathlib import Path

import pytest

from latentbit.pipeline.model_card import write_model_folder
from latentbit.runtime.__main__ import main
from latentbit.runtime.errors import MissingExtraError, ModelError, StorageError
from latentbit.runtime.zoo.catalogue import names, path

hub = pytest.importorskip("huggingface_hub", reason="needs the extra card")


def test_a_model_of_the_zoo(tmp_path: Path) -> None:
    made = write_model_folder(path("digits"), tmp_path / "card", name="digits-1bit", licence="apache-2.0")
    assert made.files == ("README.md", "model.onnx")
    assert (made.folder / "model.onnx").read_bytes() == path("digits").read_bytes()
    card = hub.ModelCard.load(made.folder / "README.md")
    assert card.data.license == "apache-2.0"
    assert card.data.pipeline_tag == "image-classification"
    assert card.data.metrics == ["accuracy"]
    (result,) = card.data.eval_results
    assert (result.dataset_name, result.metric_type) == ("digits", "accuracy")
    assert result.metric_value == pytest.approx(0.9796, abs=1e-4)
    assert card.data.to_dict() == made.metadata
    assert card.text.startswith("\n# digits-1bit\n")
    assert "CC BY 4.0" in card.text
    assert "| accuracy | 0.9796 | digits |" in card.text


def test_a_run_brings_its_report_and_is_checked_where_it_lands(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = write_model_folder(finished, tmp_path / "card", name="short", licence=None)
    assert set(made.files) == {path.name for path in made.folder.iterdir()}
    report = json.loads((made.folder / "report.json").read_text(encoding="utf-8"))
    (result,) = hub.ModelCard.load(made.folder / "README.md").data.eval_results
    assert result.metric_value == report["accuracy"]["deployed"]
    assert "| integer mismatches | 0 |" in (made.folder / "README.md").read_text(encoding="utf-8")
    assert main(["check", str(made.folder), "--oracle-samples", "2", "--latency-runs", "3", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["passed"] is True


@pytest.mark.parametrize("name", names())
def test_every_model_of_the_zoo_has_metadata_that_are_read_back(name: str, tmp_path: Path) -> None:
    made = write_model_folder(path(name), tmp_path / "card", name=name, licence=None)
    data = hub.ModelCard.load(made.folder / "README.md").data
    assert data.eval_results
    assert {result.metric_type for result in data.eval_results} == set(data.metrics)


def test_it_refuses_what_it_cannot_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelError, match=r"give a \.onnx file, zoo:NAME, or a run"):
        write_model_folder(tmp_path / "none.onnx", tmp_path / "card", name="none", licence=None)
    with pytest.raises(StorageError, match="exists"):
        write_model_folder(path("digits"), tmp_path, name="digits", licence=None)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingExtraError, match=r"latentbit\[card\]"):
        write_model_folder(path("digits"), tmp_path / "card", name="digits", licence=None)
