"""Training the user's network on his data by his loss: what comes out, what repeats, what is refused."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from latentbit.runtime.errors import ConfigError, DataError
from latentbit.training.layers.binary import BinaryConv2d, BinaryLinear
from latentbit.training.loop import checkpoints
from latentbit.training.loop.evaluate import named_outputs
from latentbit.training.loop.run import TrainingRun, check_names
from latentbit.training.loop.trainer import load_network, train
from latentbit.training.settings import Settings

from ...support.own import write_code

QUICK: dict[str, Any] = {
    "epochs": 2,
    "batch_size": 32,
    "learning_rate": 0.01,
    "latent": "none",
    "threads": 1,
    "seed": 3,
}
PLACES = {"model": "net:heads", "data": "data:places", "loss": "tasks:of_places", "metric": "metrics:of_places"}
MASKS = {"model": "net:mask", "data": "data:masks", "loss": "tasks:of_masks", "metric": "metrics:overlap"}
CLASSES = {"model": "net:classifier", "data": "data:classes"}


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_code(tmp_path_factory.mktemp("task"), "task")


def named(code: Path, **options: Any) -> dict[str, Any]:
    """Return settings; functions are given as ``net:f``, ``data:f``, ``tasks:f``, ``metrics:f``."""
    homes = {"net": "task_networks", "data": "task_data", "tasks": "task_tasks", "metrics": "task_metrics"}
    found = QUICK | {"code": str(code)}
    for option, value in options.items():
        home, _, function = str(value).partition(":")
        found[option] = f"{homes[home]}:{function}" if home in homes and function else value
    return found


def test_a_classification_has_accuracy(code: Path, tmp_path: Path) -> None:
    result = train(out=tmp_path, **named(code, **CLASSES, epochs=6))
    assert result.metrics["test_accuracy"] > 0.9
    assert (result.metrics["images"], result.metrics["dataset"]) == (90, "task_data:classes")
    network = load_network(tmp_path)
    assert sum(isinstance(layer, BinaryConv2d) for layer in network.modules()) == 2
    from latentbit.training.data.catalogue import open_data

    inputs, labels = open_data(Settings.from_keywords(**named(code, **CLASSES))).test_arrays()  # type: ignore[union-attr]
    right = (network(torch.from_numpy(inputs)).argmax(1).numpy() == labels).mean()
    assert right == pytest.approx(result.metrics["test_accuracy"])


def test_a_latent_branch_teaches_it_too(code: Path, tmp_path: Path) -> None:
    found = train(out=tmp_path, **named(code, **CLASSES, latent="L1")).metrics
    assert 0 < found["latent_test_accuracy"] <= 1


def test_several_outputs_with_a_loss_and_a_metric(code: Path, tmp_path: Path) -> None:
    found = train(out=tmp_path, **named(code, **PLACES)).metrics
    assert set(found["metrics"]) == {"right", "mse"}
    assert (found["test_accuracy"], found["train_accuracy"]) == (None, None)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert lines[1]["loss"] < lines[0]["loss"]
    assert "accuracy" not in lines[0]


def test_outputs_that_are_no_class_scores(code: Path, tmp_path: Path) -> None:
    found = train(out=tmp_path, **named(code, **MASKS, epochs=30)).metrics
    assert 0.3 < found["metrics"]["overlap"] <= 1


@pytest.mark.parametrize(("model", "data"), [("net:sound", "data:sounds"), ("net:dense", "data:vectors")])
def test_sound_and_vectors(model: str, data: str, code: Path, tmp_path: Path) -> None:
    found = train(out=tmp_path, **named(code, model=model, data=data, epochs=6)).metrics
    assert found["test_accuracy"] > 0.8
    layers = [layer for layer in load_network(tmp_path).modules() if isinstance(layer, BinaryConv2d | BinaryLinear)]
    assert layers


def test_a_network_of_the_catalogue_on_data_of_the_users_and_the_other_way(code: Path, tmp_path: Path) -> None:
    ours = train(out=tmp_path / "a", **named(code, model="digits_resnet", width=4, data="data:classes"))
    record = json.loads((ours.folder / "network.json").read_text())
    assert record["options"] == {"in_channels": 1, "num_classes": 3, "width": 4}
    found = train(out=tmp_path / "b", **named(code, model="net:classifier", data="digits", epochs=1)).metrics
    assert found["dataset"] == "digits"
    data = train(
        out=tmp_path / "c", **named(code, model="net:classifier", data="data:images_of_ours", epochs=1)
    ).metrics
    assert len(data["dataset_sha256"]) == 64


def test_a_run_repeats_and_resumes_bit_for_bit(code: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = named(code, **CLASSES)
    one = train(out=tmp_path / "one", **settings).folder

    class StopError(Exception):
        pass

    def stop(progress: Any) -> None:
        if (progress.epoch, progress.step) == (1, 2):
            raise StopError

    monkeypatch.setattr("latentbit.training.loop.trainer.CHECKPOINT_SECONDS", 0.0)
    with pytest.raises(StopError):
        train(out=tmp_path / "two", progress=stop, **settings)
    moved = shutil.copytree(code, tmp_path / "elsewhere")  # where the code lies is no matter
    seen: list[int] = []
    two = train(out=tmp_path / "two", progress=lambda p: seen.append(p.epoch), **settings | {"code": str(moved)}).folder
    assert set(seen) == {1}
    first, second = (checkpoints.load_tensors(folder / "network.pt") for folder in (one, two))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_checkpoint_of_other_code_is_not_resumed(code: Path, tmp_path: Path) -> None:
    mine = shutil.copytree(code, tmp_path / "mine")
    train(out=tmp_path / "run", **named(mine, **CLASSES))
    source = mine / "task_networks.py"
    source.write_text(source.read_text().replace("WIDTH = 8", "WIDTH = 12"))
    seen: list[int] = []
    train(out=tmp_path / "run", progress=lambda p: seen.append(p.epoch), **named(mine, **CLASSES))
    assert set(seen) == {0, 1}
    source.write_text(source.read_text().replace("WIDTH = 12", "WIDTH = 16"))
    with pytest.raises(
        DataError, match="does not fit the network that task_networks:classifier makes now: train again"
    ):
        load_network(tmp_path / "run")
    source.unlink()
    with pytest.raises(ConfigError, match="there is no module task_networks in"):
        load_network(tmp_path / "run")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"loss": ""}, "train.loss is needed: task_networks:heads and task_data:places are no classification"),
        (
            {"loss": "tasks:not_a_scalar", "data": "data:masks", "model": "net:mask"},
            "returned a tensor .*: return a scalar",
        ),
        ({"loss": "tasks:broken"}, r"training task_networks:heads failed: RuntimeError: no luck \(task_tasks.py, line"),
        (
            {"data": "data:vectors"},
            r"train.model = 'task_networks:heads' does not take what train.data gives, \[64, 12\]",
        ),
        ({"metric": "metrics:words"}, "the metric task_metrics:words gave a str: return numbers"),
        (
            {"model": "net:classifier", "data": "data:masks"},
            "its targets are no class numbers, so num_classes is not known",
        ),
        ({"width": 4}, "model 'task_networks:heads' has no option 'width': it has none"),
        ({"label_smoothing": 0.1}, "train.label_smoothing belongs to the cross-entropy, which train.loss replaces"),
        ({"model": "net:body"}, "needs an argument 'channels'"),
        ({"model": "net:WIDTH"}, "is a int: name a function"),
        ({"model": "tasks:nothing"}, "task_tasks has no nothing"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(
    changes: dict[str, str], words: str, code: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=words) as refused:
        train(out=tmp_path / "run", **named(code, **PLACES | {"epochs": 1} | changes))
    assert "\n" not in str(refused.value)


def test_a_network_that_does_not_fit_its_data_is_refused(tmp_path: Path, code: Path) -> None:
    (tmp_path / "small_net.py").write_text(
        "from torch import nn\n"
        "def narrow(): return nn.Sequential(nn.Flatten(), nn.Linear(64, 2))\n"
        "def frozen(): return nn.Flatten()\n"
        "def text(): return 'net'\n"
        "NET = nn.Flatten()\n",
        encoding="utf-8",
    )
    shutil.copy(code / "task_data.py", tmp_path)
    for name, words in (
        ("narrow", "gives 2 scores, and there is a class"),
        ("frozen", "has no parameter to train"),
        ("text", "returned a str: return a torch.nn.Module"),
        ("NET", "is a network: name a function that makes a new one"),
    ):
        settings = named(tmp_path, data="data:classes") | {"model": f"small_net:{name}"}
        with pytest.raises(ConfigError, match=words):
            TrainingRun(Settings.from_keywords(**settings))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model": "resnet19"}, "unknown model 'resnet19'"),
        ({"data": "cifar11"}, "unknown data set 'cifar11'"),
        ({"augment": "mirror"}, "train.augment = 'mirror' is unknown"),
        ({"loss": "mse"}, "train.loss = 'mse': write package.module:function"),
        ({"metric": "nowhere_probe:f"}, "there is no module nowhere_probe"),
        ({"device": "tpu"}, "train.device = 'tpu'"),
    ],
)
def test_names_are_checked_before_data_are_read(changes: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        check_names(Settings.from_keywords(**changes))


def test_outputs_have_the_names_of_the_file() -> None:
    a, b = torch.zeros(1), torch.ones(1)
    assert list(named_outputs(a)) == ["logits"]
    assert list(named_outputs((a, [b, a]))) == ["logits.0", "logits.1.0", "logits.1.1"]
    assert list(named_outputs({"x": a, "y": (b, a)})) == ["x", "y.0", "y.1"]
    assert np.array_equal(named_outputs({"x": b})["x"], b)
