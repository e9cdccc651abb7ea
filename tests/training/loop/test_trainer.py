"""The trainer: equal results for equal seeds, resumption after a real kill, honest use of the test images."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from latentbit.runtime.errors import ConfigError, DataError, MissingExtraError, StorageError
from latentbit.training.data.batches import ImageBatches
from latentbit.training.data.catalogue import load
from latentbit.training.loop import checkpoints, trainer
from latentbit.training.loop.trainer import Progress, load_network, train

QUICK: dict[str, Any] = {"epochs": 2, "width": 4, "batch_size": 128, "threads": 1, "seed": 3}

KILLED = """
import os, signal, sys
from latentbit.training.loop import trainer
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests are a shell's background job
trainer.CHECKPOINT_SECONDS = {interval}
def stop(progress):
    if (progress.epoch, progress.step) == ({epoch}, {step}) and progress.metrics is None:
        os.kill(os.getpid(), {signal})
trainer.train(out=sys.argv[1], progress=stop, **{settings})
"""


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with the branch on."""
    return train(out=tmp_path_factory.mktemp("unbroken"), **QUICK).folder


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return checkpoints.load_tensors(folder / "network.pt")


def assert_equal_runs(one: Path, other: Path) -> None:
    first, second = weights(one), weights(other)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    for name in ("metrics.json", "network.json"):
        values = [checkpoints.read_json(folder / name) for folder in (one, other)]
        for value in values:
            for measured in ("seconds", "images_per_second"):
                value.pop(measured, None)
        assert values[0] == values[1]
    lines = [[json.loads(line) for line in (f / "metrics.jsonl").read_text().splitlines()] for f in (one, other)]
    assert [(m["epoch"], m["loss"], m["accuracy"]) for m in lines[0]] == [
        (m["epoch"], m["loss"], m["accuracy"]) for m in lines[1]
    ]


def test_the_same_seed_gives_the_same_run_and_another_seed_another(unbroken: Path, tmp_path: Path) -> None:
    torch.manual_seed(999)  # the global generator plays no part
    again = train(out=tmp_path / "again", **QUICK).folder
    assert_equal_runs(unbroken, again)
    other = train(out=tmp_path / "other", **QUICK | {"seed": 4}).folder
    assert not torch.equal(weights(other)["head.weight"], weights(again)["head.weight"])


@pytest.mark.parametrize(
    ("epoch", "step", "interval", "number"),
    [(1, 2, 60.0, signal.SIGKILL), (1, 4, 0.0, signal.SIGKILL), (0, 3, 0.0, signal.SIGINT)],
)
def test_a_killed_run_resumes_to_the_unbroken_result(
    unbroken: Path, tmp_path: Path, epoch: int, step: int, interval: float, number: int
) -> None:
    out = tmp_path / "run"
    script = KILLED.format(interval=interval, epoch=epoch, step=step, signal=int(number), settings=QUICK)
    process = subprocess.run([sys.executable, "-c", script, str(out)], capture_output=True, check=False)
    assert process.returncode in (-number, 130, 1), process.stderr.decode()
    assert not (out / "network.pt").exists()
    assert [path.name for path in out.iterdir() if path.name.startswith(".")] == []
    steps: list[tuple[int, int]] = []
    train(out=out, progress=lambda p: steps.append((p.epoch, p.step)), **QUICK)
    # It went on where the checkpoint was, not from the start.
    assert steps[0] == ((epoch, 1) if interval else (epoch, step))
    assert_equal_runs(unbroken, out)


def test_a_finished_run_trains_no_step_again(unbroken: Path) -> None:
    steps: list[Progress] = []
    before = weights(unbroken)["head.weight"]
    train(out=unbroken, progress=steps.append, **QUICK)
    assert steps == []
    assert torch.equal(weights(unbroken)["head.weight"], before)


def test_other_settings_start_anew(unbroken: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    train(out=out, **QUICK | {"epochs": 1, "latent": "none"})
    train(out=out, **QUICK)
    assert_equal_runs(unbroken, out)


def test_metrics_and_network_files(unbroken: Path) -> None:
    metrics = checkpoints.read_json(unbroken / "metrics.json")
    assert 0 < metrics["latent_test_accuracy"] <= 1
    assert metrics["validation_accuracy"] is None
    assert metrics["images"] == 539
    network = load_network(unbroken)
    assert not network.training
    images = load("digits")
    inputs = torch.from_numpy(images.normalise(images.test_images))
    right = (network(inputs).argmax(1).numpy() == images.test_labels).mean()
    assert right == pytest.approx(metrics["test_accuracy"])


def test_with_a_holdout_the_test_images_are_never_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    digits = load("digits")
    test_rows = {image.tobytes() for image in digits.test_images}
    normalise = ImageBatches.normalise

    def watch(batches: ImageBatches, images: torch.Tensor) -> torch.Tensor:
        seen.extend(image.numpy().tobytes() in test_rows for image in images)
        return normalise(batches, images)

    monkeypatch.setattr(ImageBatches, "normalise", watch)
    metrics = train(out=tmp_path, **QUICK | {"epochs": 1, "holdout": 0.1, "augment": "none", "latent": "none"}).metrics
    assert len(seen) == 1258
    assert sum(seen) == 0
    assert metrics["test_accuracy"] is None
    assert metrics["images"] == 126
    assert 0 < metrics["validation_accuracy"] <= 1


def test_progress_counts_epochs_and_steps(tmp_path: Path) -> None:
    told: list[Progress] = []
    train(out=tmp_path, progress=told.append, **QUICK | {"latent": "none"})
    assert [(p.epoch, p.step) for p in told if p.metrics is None] == [(e, s) for e in range(2) for s in range(1, 11)]
    assert all(p.steps == 10 and p.epochs == 2 for p in told)
    ends = [p for p in told if p.metrics]
    assert len(ends) == 2
    assert all(p.images_per_second > 0 for p in told)


def test_weights_stay_within_their_limit(tmp_path: Path) -> None:
    folder = train(out=tmp_path, **QUICK | {"epochs": 1, "weight_limit": 0.05}).folder
    for name, value in weights(folder).items():
        if name.endswith(("conv.weight", "dense.weight")):
            assert float(value.abs().max()) <= 0.05 + 1e-7


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epoch": 3}, "unknown option 'epoch' of train: did you mean 'epochs'"),
        ({"epochs": "3"}, "train.epochs takes int, not str"),
        ({"epochs": 0}, "train.epochs must be at least 1"),
        ({"learning_rate": 0.0}, "train.learning_rate must be positive"),
        ({"data": "digit"}, "unknown data set 'digit'"),
        ({"model": "resnet"}, "unknown model 'resnet'"),
        ({"augment": "cutout"}, "train.augment = 'cutout' is unknown"),
        ({"device": "tpu9"}, "train.device = 'tpu9' is unknown"),
        ({"holdout": 1.0}, r"train.holdout must lie in \[0, 1\)"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        train(out=tmp_path / "run", **settings)


def test_a_corrupt_checkpoint_is_named(tmp_path: Path) -> None:
    (tmp_path / "checkpoint.pt").write_bytes(b"no checkpoint")
    with pytest.raises(DataError, match=r"checkpoint.pt cannot be read .*: delete it and train again"):
        train(out=tmp_path, **QUICK)


@pytest.mark.parametrize("values", [{}, {"settings": 7}, {"settings": {}, "step": []}])
def test_a_checkpoint_that_holds_something_else_is_named_or_not_resumed(values: dict[str, Any], tmp_path: Path) -> None:
    checkpoints.save_tensors(tmp_path / "checkpoint.pt", values)
    if isinstance(values.get("settings"), dict):  # of other settings: trained anew
        assert train(out=tmp_path, **QUICK).folder == tmp_path
        return
    with pytest.raises(DataError, match=r"checkpoint.pt does not fit this training .*: delete it and train again"):
        train(out=tmp_path, **QUICK)


def test_loading_from_an_empty_folder_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"network\.json is missing"):
        load_network(tmp_path)


def test_a_checkpoint_with_code_in_it_is_refused(tmp_path: Path) -> None:
    class Harm:
        def __reduce__(self) -> tuple[Any, ...]:
            return (os.mkdir, (str(tmp_path / "harm"),))

    torch.save({"format": Harm()}, tmp_path / "checkpoint.pt")
    with pytest.raises(DataError, match="cannot be read"):
        train(out=tmp_path, **QUICK)
    assert not (tmp_path / "harm").exists()


def test_an_unwritable_folder_is_a_storage_error(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    with pytest.raises(StorageError, match="cannot write"):
        train(out=blocked / "run", **QUICK | {"epochs": 1, "latent": "none"})


def test_curves_for_tensorboard(tmp_path: Path) -> None:
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator", reason="no tensorboard here")
    result = train(out=tmp_path, tensorboard=True, **QUICK | {"latent": "none"})
    found = reader.EventAccumulator(str(result.folder / "tensorboard"))
    found.Reload()
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [event.step for event in found.Scalars("loss")] == [0, 1]
    assert [event.value for event in found.Scalars("loss")] == pytest.approx([line["loss"] for line in lines])


def test_any_logger_can_watch_a_run(tmp_path: Path) -> None:
    """MLflow, Weights & Biases and the loggers of Lightning take numbers by name and a step (docs/training.md)."""
    logged: dict[int, dict[str, float]] = {}

    def tell(event: Progress) -> None:
        if event.metrics is not None:
            logged[event.epoch] = event.metrics

    train(out=tmp_path, progress=tell, **QUICK | {"latent": "none"})
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert logged == {line["epoch"]: line for line in lines}
    assert all(isinstance(value, float) for line in lines for name, value in line.items() if name != "epoch")


def test_without_tensorboard_the_option_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'latentbit\[tensorboard\]'"):
        train(out=tmp_path, tensorboard=True, **QUICK)


class StoppedError(Exception):
    """Stands for whatever ends a process, in this one."""


@pytest.mark.parametrize(
    "options",
    [
        {"ema": 0.9, "clip": 1.0, "weight_regulariser": "recu", "activation_estimator": "ede"},
        {"latent": "L2", "centre": 0.01, "latent_share": 0.5, "gamma_ramp": 0.5},
        {"latent": "none", "real_weight_until": 0.5, "silent_decay": 1e-3, "optimizer": "sgd", "schedule": "step"},
    ],
    ids=["averaged", "supervised", "two stages"],
)
def test_every_option_resumes_bit_for_bit(
    options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "CHECKPOINT_SECONDS", 0.0)  # a checkpoint after every step
    whole = train(out=tmp_path / "whole", **QUICK | options).folder

    def stop(progress: Progress) -> None:
        if (progress.epoch, progress.step) == (1, 3) and progress.metrics is None:
            raise StoppedError

    with pytest.raises(StoppedError):
        train(out=tmp_path / "broken", progress=stop, **QUICK | options)
    assert_equal_runs(whole, train(out=tmp_path / "broken", **QUICK | options).folder)
