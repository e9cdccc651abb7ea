"""The zoo: every model that ships answers as recorded on real test images, and is what its card says."""

import json
import shutil
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from latentbit.runtime import InferenceSession, check, zoo
from latentbit.runtime.__main__ import main
from latentbit.runtime.classify import read_preprocessing
from latentbit.runtime.errors import ModelError
from latentbit.runtime.proof.bundle import open_bundle
from latentbit.runtime.proof.reference import load_reference
from latentbit.runtime.zoo import catalogue

SAMPLES = Path(__file__).resolve().parents[2] / "data" / "zoo"
LARGEST = 4 * 2**20
NAMES = zoo.names()
SAMPLED = [name for name in NAMES if (SAMPLES / f"{name}.zip").exists()]


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let the zoo be a copy that a test may alter."""
    folder = tmp_path / "zoo"
    shutil.copytree(catalogue.FOLDER, folder, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(catalogue, "FOLDER", folder)
    return folder


def test_models_cards_and_samples_belong_together() -> None:
    assert "digits" in NAMES
    assert list(NAMES) == sorted(file.stem for file in catalogue.FOLDER.glob("*.onnx"))
    assert sorted(file.stem for file in SAMPLES.glob("*.zip")) == SAMPLED
    for name in set(NAMES) - set(SAMPLED):
        terms = zoo.card(name).data_terms
        assert terms is not None
        assert terms.startswith("no licence"), "tests/training/test_zoo.py reads these images from the disk"


@pytest.mark.parametrize("name", SAMPLED)
def test_a_model_answers_as_recorded_on_real_images(name: str) -> None:
    with open_bundle(SAMPLES / f"{name}.zip") as sample:
        assert sample.model.read_bytes() == zoo.path(name).read_bytes()
        wanted = replace(sample.tolerances, oracle_samples=2, latency_runs=1)
        report = check(zoo.path(name), sample.reference, wanted)
        stored = load_reference(sample.reference)
    assert report.passed, report.failures
    assert report.agreement.oracle_integer_mismatches == 0
    assert report.agreement.oracle_integers_compared > 0
    assert report.agreement.top1_agreement == 1.0
    assert stored.labels is not None
    right = float(np.mean(stored.logits.argmax(axis=1) == stored.labels))
    assert report.accuracy.deployed == right
    stated = zoo.card(name).accuracy["folded"]
    assert stated is not None
    assert right > stated - 0.2, "50 images scatter, but these are not those the card speaks of"
    assert len(np.unique(stored.labels)) == stored.logits.shape[1], "the sample holds every class"


@pytest.mark.parametrize("name", NAMES)
def test_a_card_tells_the_truth_of_its_file(name: str) -> None:
    card = zoo.card(name)
    session = InferenceSession(zoo.path(name))
    metadata = session.get_modelmeta().custom_metadata_map
    data, recipe = json.loads(metadata["latentbit.dataset"]), json.loads(metadata["latentbit.recipe"])
    assert (card.name, card.data, card.data_sha256) == (name, data["name"], data["sha256"])
    assert card.test_images == data["test"]
    if not recipe.get("minutes"):  # a schedule by the clock trains as many epochs as the time is enough for
        assert card.epochs == recipe["epochs"]
    assert recipe["model"] == card.network.split(",")[0]
    assert recipe["holdout"] == 0.0
    metrics = session.get_metrics()  # under today's names, though the files were written with former ones
    assert set(metrics) == {"latent_test_accuracy", "test_accuracy", "folded"}
    for key, value in metrics.items():
        assert card.accuracy[key] == value
    size = zoo.path(name).stat().st_size
    assert card.size_bytes == {"packed": size, "float": size + session.saved_bytes()}
    assert size <= LARGEST


@pytest.mark.parametrize("name", NAMES)
def test_a_card_is_complete(name: str) -> None:
    card = zoo.card(name)
    empty = [field.name for field in fields(card) if getattr(card, field.name) in ("", {}, None, 0)]
    assert set(empty) <= {"data_terms", "metrics"}, "the licence of the data may be unknown, nothing else"
    assert (card.accuracy["deployed"] is None) == bool(card.metrics), "accuracy, or figures of a metric"
    assert set(card.accuracy) == {"latent_test_accuracy", "test_accuracy", "folded", "deployed"}
    assert set(card.latency_ms) == {"latentbit", "onnxruntime_fp32"}
    assert all(0 < times["median"] <= times["p95"] for times in card.latency_ms.values())
    assert 0 < card.reference_images <= card.test_images
    assert {"latentbit", "torch", "onnx", "python"} <= set(card.versions)
    assert card.command.startswith(f"pipeline run-all -c configs/{Path(card.recipe).name}")


@pytest.mark.parametrize("name", NAMES)
def test_an_altered_model_is_refused_by_name(name: str, copy: Path) -> None:
    file = copy / f"{name}.onnx"
    original = file.read_bytes()
    for position in (0, len(original) // 2, len(original) - 1):
        data = bytearray(original)
        data[position] ^= 1
        file.write_bytes(data)
        with pytest.raises(ModelError, match=rf"{name}\.onnx was altered"):
            zoo.path(name)
    file.write_bytes(original)
    assert zoo.path(name) == file
    file.unlink()
    with pytest.raises(ModelError, match=rf"cannot read .*{name}\.onnx"):
        zoo.path(name)


def test_a_card_that_is_no_card_is_refused(copy: Path) -> None:
    card = copy / "digits.json"
    entries = json.loads(card.read_text(encoding="utf-8"))
    wrong: list[Any] = [
        {**entries, "colour": "red"},
        {key: entries[key] for key in entries if key != "sha256"},
        [],
        None,
    ]
    for text in ("{", *map(json.dumps, wrong)):
        card.write_text(text)
        with pytest.raises(ModelError, match=r"digits\.json is corrupt"):
            zoo.path("digits")
    card.write_text(json.dumps({**entries, "format_version": 9}))
    with pytest.raises(ModelError, match="has version 9, this latentbit reads 1"):
        zoo.card("digits")


def test_an_unknown_name_gives_the_nearest() -> None:
    for call in (zoo.card, zoo.path, lambda name: zoo.find_model(f"zoo:{name}")):
        with pytest.raises(ModelError, match="no model 'digit': did you mean 'digits'"):
            call("digit")
    with pytest.raises(ModelError, match=f"it has {', '.join(NAMES)}"):
        zoo.path("../digits_of_someone_else")


def test_a_path_stays_a_path(tmp_path: Path) -> None:
    assert zoo.find_model("zoo:digits") == zoo.path("digits")
    for given in ("digits", "zoo/digits.onnx", "./zoo:digits", tmp_path / "model.onnx"):
        assert zoo.find_model(given) == Path(given)
    with pytest.raises(ModelError, match="cannot read model zoo:digits"):
        InferenceSession("zoo:digits")  # the library takes paths, and zoo.path gives them


@pytest.mark.parametrize("name", SAMPLED)
def test_the_devices_commands_take_names(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with open_bundle(SAMPLES / f"{name}.zip") as sample:
        stored = load_reference(sample.reference)
    np.save(tmp_path / "input.npy", stored.inputs[:5])
    assert main(["run", f"zoo:{name}", str(tmp_path / "input.npy")]) == 0
    assert [int(line) for line in capsys.readouterr().out.split()] == list(stored.logits[:5].argmax(axis=1))
    for command in (["info"], ["bench", "--runs", "1"], ["profile", "--runs", "1"]):
        assert main([command[0], f"zoo:{name}", *command[1:], "--json"]) == 0
        assert json.loads(capsys.readouterr().out)


def test_a_wrong_name_on_the_command_line_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "zoo:digit"]) == 1
    assert capsys.readouterr().err == "error: the zoo has no model 'digit': did you mean 'digits'?\n"


def test_the_first_success_needs_no_image_and_no_training(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("PIL.Image", reason="needs the extra images")
    assert main(["classify", "zoo:digits", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert Path(said["image"]) == catalogue.FOLDER / "digits.png"
    assert said["top"][0][0] == "2"
    assert main(["classify", "zoo:cifar10_resnet20"]) == 2
    assert "comes with no image to try it on" in capsys.readouterr().err


@pytest.mark.parametrize("name", SAMPLED)
def test_classify_names_what_is_on_the_stored_images(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image_module = pytest.importorskip("PIL.Image", reason="needs the extra images")
    session = InferenceSession(zoo.path(name))
    wanted = read_preprocessing(session)
    labels = json.loads(session.get_modelmeta().custom_metadata_map["latentbit.labels"])
    with open_bundle(SAMPLES / f"{name}.zip") as sample:
        stored = load_reference(sample.reference)
    paths = []
    for index, values in enumerate(stored.inputs[:8]):
        if wanted.raw:
            pixels = values / np.float32(wanted.pixel_range)
        else:
            pixels = np.moveaxis(values, 0, -1) * np.asarray(wanted.std) + np.asarray(wanted.mean)
        picture = np.rint(pixels * 255).astype(np.uint8)
        paths.append(str(tmp_path / f"{index}.png"))
        image_module.fromarray(picture[..., 0] if picture.shape[-1] == 1 else picture).save(paths[-1])
    assert main(["classify", f"zoo:{name}", *paths, "--json", "--top", "1"]) == 0
    answers = [json.loads(line)["top"][0][0] for line in capsys.readouterr().out.splitlines()]
    assert answers == [str(labels[best]) for best in stored.logits[:8].argmax(axis=1)]


def test_looking_into_the_zoo_loads_nothing_heavy() -> None:
    code = (
        "import sys; from latentbit.runtime import zoo; zoo.path(zoo.names()[0])\n"
        "print([name for name in ('numba', 'numpy', 'onnx', 'onnxruntime') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("[]\n", "")
