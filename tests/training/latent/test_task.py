"""A loss of the user's own: what it is called with, what it trains, and the options that mean nothing beside it."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from latentbit.runtime.errors import ConfigError
from latentbit.training.latent.objectives import build_objective
from latentbit.training.models.catalogue import build_model
from latentbit.training.settings import Settings


class TwoInputs(nn.Module):
    """Takes two inputs and returns a dict, as a detector does."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.boxes = build_model("digits_resnet", width=4), nn.Linear(10, 4)

    def forward(self, images: Tensor, offset: Tensor) -> dict[str, Tensor]:
        scores = self.body(images)
        return {"scores": scores, "boxes": self.boxes(scores) + offset}


def detection(outputs: Any, targets: Any) -> Tensor:
    loss: Tensor = F.cross_entropy(outputs["scores"], targets["labels"]) + F.l1_loss(outputs["boxes"], targets["boxes"])
    return loss


def batch() -> tuple[tuple[Tensor, Tensor], dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(6, 1, 8, 8, generator=generator), torch.randn(6, 4, generator=generator)
    return inputs, {"labels": torch.arange(6), "boxes": torch.randn(6, 4, generator=generator)}


def test_a_loss_of_ones_own_is_given_what_the_network_returns() -> None:
    torch.manual_seed(0)
    network, (inputs, targets) = TwoInputs().eval(), batch()
    loss, outputs = build_objective(network, Settings(latent="none"), detection).eval()(inputs, targets)
    assert torch.equal(outputs["boxes"], network(*inputs)["boxes"])
    assert torch.equal(loss, detection(network(*inputs), targets))


def test_a_teacher_of_structures_needs_a_distance() -> None:
    def far(outputs: Any, taught: Any) -> Tensor:
        return F.mse_loss(outputs["boxes"], taught["boxes"])

    network, (inputs, targets) = TwoInputs().eval(), batch()
    settings = Settings(latent="none", teacher="somewhere", teacher_weight=0.25)
    with pytest.raises(ConfigError, match=r"needs distance\(outputs, taught\)"):
        build_objective(network, settings, detection)
    lesson = TwoInputs()(*inputs)
    loss, outputs = build_objective(network, settings, detection, far).eval()(inputs, targets, lesson)
    torch.testing.assert_close(loss, 0.75 * detection(outputs, targets) + 0.25 * far(outputs, lesson))


def test_a_loss_that_is_a_module_is_trained_too() -> None:
    class Weighted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.balance = nn.Parameter(torch.zeros(2))

        def forward(self, outputs: Any, targets: Any) -> Tensor:
            return (detection(outputs, targets) * torch.exp(-self.balance) + self.balance).sum()

    inputs, targets = batch()
    objective = build_objective(TwoInputs(), Settings(latent="none"), Weighted())
    objective(inputs, targets)[0].backward()
    grads = {name: p.grad for name, p in objective.named_parameters() if "balance" in name}
    assert list(grads) == ["task.loss.balance"]
    assert grads["task.loss.balance"].abs().sum() > 0


@pytest.mark.parametrize(
    ("options", "name"), [({"label_smoothing": 0.1}, "label_smoothing"), ({"centre": 1.0}, "centre")]
)
def test_options_of_cross_entropy_are_refused_beside_it(options: dict[str, Any], name: str) -> None:
    with pytest.raises(ConfigError, match=rf"train.{name} .* not a loss of your own: set it to 0"):
        build_objective(TwoInputs(), Settings(**options), detection)


@pytest.mark.parametrize(("value", "found"), [(torch.ones(3), r"a tensor of shape \[3\]"), (2.0, "float")])
def test_a_loss_that_is_no_scalar_is_named(value: Any, found: str) -> None:
    inputs, targets = batch()
    objective = build_objective(TwoInputs(), Settings(latent="none"), lambda outputs, targets: value)
    with pytest.raises(ConfigError, match=f"task_loss must return one number, a scalar tensor, and returned {found}"):
        objective(inputs, targets)
