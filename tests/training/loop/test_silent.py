"""Silent weights: the scaling of gradients, the decay, and their state in a checkpoint."""

from pathlib import Path

import pytest
import torch

from latentbit.training.layers.binary import BinaryLinear
from latentbit.training.loop.checkpoints import load_tensors, save_tensors
from latentbit.training.loop.run import TrainingRun
from latentbit.training.loop.silent import MOMENTUM, SILENT, SilentWeights
from latentbit.training.loop.trainer import train
from latentbit.training.settings import Settings


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


def test_weights_that_stopped_flipping_decay_and_others_do_not() -> None:
    layer = layer_with([[0.5, -0.5]], [[0.0, 0.0]])
    silent = SilentWeights(layer, scale=0.0, decay=0.01)
    assert layer.weight.grad is not None
    steps = 0
    while not layer.weight.grad[0, 0]:
        layer.weight.grad.zero_()
        layer.weight.data[0, 1] *= -1  # the second weight flips at every step
        silent.change_gradients()
        steps += 1
    assert layer.weight.grad[0].tolist() == pytest.approx([0.005, 0.0])
    assert MOMENTUM**steps < SILENT <= MOMENTUM ** (steps - 1)


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


def test_a_run_with_both_parts_trains(tmp_path: Path) -> None:
    settings = {"width": 4, "batch_size": 128, "epochs": 1, "silent_scale": 0.01, "silent_decay": 1e-3}
    assert 0 < train(out=tmp_path, **settings).metrics["training"] <= 1
