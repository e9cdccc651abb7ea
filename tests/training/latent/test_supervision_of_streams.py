"""Who is taught by what, and when: L6's chain of streams, labels for the binary stream, a stream that begins late."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from latentbit.runtime.errors import ConfigError
from latentbit.training.latent.objectives import build_objective
from latentbit.training.layers.levels import to_levels
from latentbit.training.models.blocks import BinaryBlock
from latentbit.training.settings import Settings

from ...support.small import batch, small


def kl(teacher: torch.Tensor, student: torch.Tensor, temperature: float) -> torch.Tensor:
    wanted, found = F.log_softmax(teacher / temperature, 1), F.log_softmax(student / temperature, 1)
    return temperature**2 * (wanted.exp() * (wanted - found)).sum(1).mean()


def test_two_bits_are_the_nearest_of_four_levels_with_the_sign_of_the_value() -> None:
    x = torch.tensor([-7.0, -0.7, -0.6, -1e-9, -0.0, 0.0, 1e-9, 0.6, 0.7, 7.0], requires_grad=True)
    found = to_levels(x, 2)
    third = 1 / 3
    assert found.tolist() == pytest.approx([-1, -1, -third, -third, third, third, third, third, 1, 1])
    found.sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [0, 1, 1, 1, 1, 1, 1, 1, 1, 0]


def test_the_stream_in_between_computes_with_two_bits_of_both_operands() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(BinaryBlock(3, 3), nn.Flatten(), nn.Linear(48, 2))
    objective = build_objective(network, Settings(latent="L6")).eval()
    block, norm = network[0], objective.two_bits.get_submodule("0.norm")
    nn.init.normal_(norm.weight)
    nn.init.normal_(block.sign.threshold)
    images = torch.randn(5, 3, 4, 4)
    moved = images - block.sign.threshold.view(1, -1, 1, 1)
    levels = torch.tensor([-1, -1 / 3, 1 / 3, 1])

    def nearest(x: torch.Tensor) -> torch.Tensor:
        return levels[(x[..., None] - levels).abs().argmin(-1)]

    scale = 2 * block.conv.weight.abs().mean((1, 2, 3), keepdim=True)
    weight = scale * nearest(block.conv.weight / scale)
    assert len(weight[0].unique()) == 4, "all levels are in use"
    expected = block.act(norm(F.conv2d(nearest(moved), weight, padding=1)) + images)
    assert torch.allclose(objective.between(images), network[2](network[1](expected)), atol=1e-5)


def test_l6_teaches_each_stream_by_the_next_finer_one() -> None:
    network, (images, labels) = small(), batch()
    settings = Settings(latent="L6", label_weight=0.2, mu=0.7, beta=0.3, temperature=2.0)
    objective = build_objective(network, settings).eval()
    loss, binary = objective(images, labels)
    real, between = objective.latent_logits(images), objective.between(images)
    assert torch.equal(binary, network(images))
    assert not torch.allclose(real, between)
    expected = 0.2 * F.cross_entropy(binary, labels) + 0.7 * F.cross_entropy(real, labels)
    assert torch.allclose(loss, expected + 0.3 * (kl(real, between, 2.0) + kl(between, binary, 2.0)), atol=1e-5)


def test_soft_labels_alone_reach_the_binary_stream() -> None:
    """κ = 0: no label reaches the binary stream's own norms, and the streams that teach learn nothing from it."""
    network, (images, labels) = small(), batch()
    objective = build_objective(network, Settings(latent="L6", label_weight=0.0, mu=0.0)).train()
    objective(images, labels)[0].backward()
    found = objective.two_bits.get_submodule("blocks.0.norm").weight.grad
    assert found is not None
    assert float(found.abs().sum()) > 0
    assert float(network.blocks[0].norm.weight.grad.abs().sum()) > 0
    real = objective.latent.get_submodule("blocks.0.norm").weight.grad
    assert real is None or not real.any(), "the stream of W is taught by labels alone, which weigh 0 here"
    other = build_objective(small(), Settings(latent="L6", label_weight=0.0, mu=0.0)).train()
    changed = other(images, (labels + 1) % 10)[0]
    assert torch.equal(changed, build_objective(small(), other.settings).train()(images, labels)[0])


@pytest.mark.parametrize("variant", ["L1", "L2", "L6"])
def test_a_step_without_a_latent_stream_has_the_whole_loss_of_the_labels(variant: str) -> None:
    network, (images, labels) = small(), batch()
    settings = Settings(latent=variant, label_weight=0.0, latent_from=0.5, latent_until=0.9)
    objective = build_objective(network, settings).eval()
    bare = F.cross_entropy(network(images), labels)
    ran = []
    for progress in (0.0, 0.49, 0.5, 0.89, 0.9):
        objective.set_progress(progress, 0)
        ran.append(not torch.equal(objective(images, labels)[0], bare))
    assert ran == [False, False, True, True, False]
    assert objective.leaves_unused


def test_ramps_begin_with_the_stream() -> None:
    settings = Settings(latent="L1", mu=2.0, mu_ramp=0.2, latent_from=0.5)
    objective = build_objective(small(), settings)
    found = []
    for progress in (0.5, 0.6, 0.7, 0.9):
        objective.set_progress(progress, 0)
        found.append(float(objective.strength[0]))
    assert found == pytest.approx([0.0, 1.0, 2.0, 2.0])


@pytest.mark.parametrize(
    "changes",
    [
        {"latent_from": 0.5, "latent_until": 0.5},
        {"latent": "L5", "latent_from": 0.8, "fade": 0.8},
    ],
)
def test_a_stream_that_never_runs_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="begin where it has ended"):
        Settings(**changes)


def test_a_binary_network_that_nothing_teaches_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"nothing would teach .* train.beta is 0 too"):
        build_objective(small(), Settings(latent="L1", label_weight=0.0, beta=0.0))
    with pytest.raises(ConfigError, match=r"nothing would teach .* no distance"):
        build_objective(small(), Settings(latent="L1", label_weight=0.0), F.cross_entropy)
    with pytest.raises(ConfigError, match="L6 teaches each stream by the outputs of the next"):
        build_objective(small(), Settings(latent="L6"), F.cross_entropy)
