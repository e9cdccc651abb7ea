"""Styles of images, and a network that is taught to answer alike whatever they are."""

import pytest
import torch
import torch.nn.functional as F

from latentbit.runtime.errors import ConfigError
from latentbit.training.latent.objectives import build_objective
from latentbit.training.latent.styles import draw_shares, mix_styles
from latentbit.training.settings import Settings

from ...support.small import batch, small


def test_mixed_images_have_the_mixed_means_and_deviations() -> None:
    images = torch.randn(4, 3, 6, 6) * torch.rand(4, 3, 1, 1) + torch.randn(4, 3, 1, 1)
    shares = torch.tensor([1.0, 0.0, 0.25, 0.5])
    mixed = mix_styles(images, shares)
    mean, deviation = images.mean((2, 3)), images.std((2, 3), unbiased=False)
    own = shares[:, None]
    assert torch.allclose(mixed.mean((2, 3)), own * mean + (1 - own) * mean.roll(1, 0), atol=1e-5)
    assert torch.allclose(
        mixed.std((2, 3), unbiased=False), own * deviation + (1 - own) * deviation.roll(1, 0), atol=1e-4
    )
    assert torch.allclose(mixed[0], images[0], atol=1e-5)


def test_shares_repeat_for_a_step_and_differ_between_steps() -> None:
    first = draw_shares(64, 3, 7)
    assert torch.equal(first, draw_shares(64, 3, 7))
    assert not torch.equal(first, draw_shares(64, 3, 8))
    assert not torch.equal(first, draw_shares(64, 4, 7))
    assert ((first >= 0) & (first <= 1)).all()


def test_the_loss_gains_the_distance_to_the_answers_in_other_styles() -> None:
    network, (images, labels) = small(), batch()
    objective = build_objective(network, Settings(latent="none", consistency=0.7, batch_size=8)).train()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            module.eval()  # so that a pass changes nothing for the next
    objective.set_progress(0.1, 5)
    loss, outputs = objective(images, labels)
    other = network(mix_styles(images, draw_shares(8, 0, 5)[: len(images)]))
    taught = F.kl_div(F.log_softmax(other, 1), F.softmax(outputs, 1).detach(), reduction="batchmean")
    assert float(taught.detach()) > 0
    assert torch.allclose(loss, F.cross_entropy(outputs, labels) + 0.7 * taught, atol=1e-5)
    objective.eval()
    assert torch.allclose(objective(images, labels)[0], F.cross_entropy(network(images), labels))


def test_what_has_no_styles_or_another_branch_is_refused() -> None:
    with pytest.raises(ConfigError, match="without a latent branch"):
        Settings(latent="L1", consistency=1.0)
    with pytest.raises(ConfigError, match="beside a loss of your own needs distance"):
        build_objective(small(), Settings(latent="none", consistency=1.0), F.cross_entropy)
    objective = build_objective(torch.nn.Linear(3, 2), Settings(latent="none", consistency=1.0))
    with pytest.raises(ConfigError, match="styles of images"):
        objective(torch.randn(4, 3), torch.zeros(4, dtype=torch.long))
