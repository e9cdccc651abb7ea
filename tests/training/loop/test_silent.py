"""Silent weights: the scaling of gradients, the decay, and their state in a checkpoint."""

from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import torch

from latentbit.training.layers.binary import BinaryLinear
from latentbit.training.loop import silent
from latentbit.training.loop.checkpoints import load_tensors, save_tensors
from latentbit.training.loop.loading import load_network
from latentbit.training.loop.run import TrainingRun
from latentbit.training.loop.silent import MOMENTUM, SILENT, SilentWeights
from latentbit.training.loop.trainer import train
from latentbit.training.settings import Settings

from ...support.trained import accuracy_of


def layer_with(weight: list[list[float]], gradient: list[list[float]]) -> BinaryLinear:
    layer = BinaryLinear(len(weight[0]), len(weight))
    layer.weight.data = torch.tensor(weight)
    layer.weight.grad = torch.tensor(gradient)
    return layer


def test_short_gradients_are_lengthened_by_channel_and_long_ones_kept() -> None:
    layer = layer_with([[3.0, 4.0], [3.0, 4.0], [1.0, 1.0]], [[0.03, 0.04], [6.0, 8.0], [0.0, 0.0]])
    SilentWeights(layer, scale=0.1, decay=0.0).change_gradients()
    assert layer.weight.grad is not None
    assert torch.allclose(layer.weight.grad, torch.tensor([[0.3, 0.4], [6.0, 8.0], [0.0, 0.0]]))


def test_weights_that_do_not_flip_decay_and_others_do_not_for_a_while() -> None:
    layer = layer_with([[0.5, -0.5]], [[0.0, 0.0]])
    silent = SilentWeights(layer, scale=0.0, decay=0.01)
    gradient = layer.weight.grad
    assert gradient is not None
    layer.weight.data[0, 1] *= -1  # the second weight flips once
    steps = 0
    while not gradient[0, 1]:
        gradient.zero_()
        silent.change_gradients()
        assert gradient[0, 0] == pytest.approx(0.005), "silent from the start"
        steps += 1
    assert gradient[0, 1] == pytest.approx(0.005)
    assert (1 - MOMENTUM) * MOMENTUM ** (steps - 1) < SILENT <= (1 - MOMENTUM) * MOMENTUM ** (steps - 2)


def test_norms_have_a_least_size_as_published() -> None:
    layer = layer_with([[0.0, 0.0], [3.0, 4.0]], [[1e-5, 0.0], [1e-9, 0.0]])
    SilentWeights(layer, scale=0.04, decay=0.0).change_gradients()
    assert layer.weight.grad is not None
    expected = torch.tensor([[0.04 * 1e-3, 0.0], [1e-9 * 0.04 * 5 / 1e-6, 0.0]])
    assert torch.allclose(layer.weight.grad, expected, rtol=1e-4)


def test_the_watch_is_part_of_a_checkpoint(tmp_path: Path) -> None:
    settings = Settings(width=4, batch_size=128, epochs=1, silent_scale=0.01, silent_decay=1e-3)
    one, two = TrainingRun(settings), TrainingRun(settings)
    one.objective.train()
    for step in range(3):
        one.train_step(torch.arange(128), step)
    save_tensors(tmp_path / "state.pt", one.state())
    two.restore(load_tensors(tmp_path / "state.pt"))
    assert one.silent is not None
    assert two.silent is not None
    assert all(torch.equal(one.silent.flips[name], two.silent.flips[name]) for name in one.silent.flips)
    two.objective.train()
    first, second = (run.train_step(torch.arange(128), 3) for run in (one, two))
    assert torch.equal(first, second)


def test_each_part_changes_what_a_run_learns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(silent, "SILENT", 2.0)  # every weight counts as silent from the first step
    parts: dict[str, dict[str, Any]] = {
        "none": {},
        "scale": {"silent_scale": 0.5},
        "decay": {"silent_decay": 0.1},
        "both": {"silent_scale": 0.5, "silent_decay": 0.1},
    }
    learnt = []
    for name, options in parts.items():
        trained = train(out=tmp_path / name, width=4, batch_size=128, epochs=1, **options)
        assert trained.metrics["test_accuracy"] == pytest.approx(accuracy_of(trained.folder))
        learnt.append(load_network(trained.folder).state_dict()["blocks.0.conv.weight"])
    assert not [pair for pair in combinations(learnt, 2) if torch.equal(*pair)]
