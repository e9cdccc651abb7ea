"""The latent variants L2 to L5, ramps and the cheaper streams, each against its formula."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from latentbit.runtime.errors import UnsupportedError
from latentbit.training.latent.objective import fading
from latentbit.training.latent.objectives import OBJECTIVES, Objective, build_objective
from latentbit.training.latent.selfcancel import self_cancel
from latentbit.training.latent.supervision import CentreLoss, feature_distance
from latentbit.training.layers.binary import BinaryConv2d, BinaryLinear, RSign
from latentbit.training.models.blocks import BinaryBlock
from latentbit.training.settings import Settings

from ...support.small import batch, small


def test_lambda_falls_along_a_cosine_and_stays_zero() -> None:
    assert [fading(p, 0.8) for p in (0.0, 0.4, 0.8, 0.9)] == pytest.approx([1.0, 0.5, 0.0, 0.0])


def test_l2_adds_the_distance_of_normalised_stage_features() -> None:
    network, (images, labels) = small(), batch()
    plain = build_objective(network, Settings(latent="L1"))
    supervised = build_objective(network, Settings(latent="L2", gamma=0.5))
    supervised.latent.load_state_dict(plain.latent.state_dict())
    plain.eval(), supervised.eval()
    supervised.own.begin(), supervised.other.begin()
    supervised.binary_outputs(images), supervised.stream(images)
    own, other = supervised.own.found(), supervised.other.found()
    assert [tuple(f.shape[1:]) for f in own] == [(4, 8, 8), (8, 4, 4)]  # the ends of both stages
    added = supervised(images, labels)[0] - plain(images, labels)[0]
    expected = sum(
        (F.normalize(a.flatten(1)) - F.normalize(b.flatten(1))).square().sum(1).mean()
        for a, b in zip(own, other, strict=True)
    )
    assert torch.allclose(added, 0.5 * expected, atol=1e-5)


def test_feature_distance_teaches_the_binary_side_alone() -> None:
    binary, latent = torch.randn(3, 8, requires_grad=True), torch.randn(3, 8, requires_grad=True)
    feature_distance(binary, latent).backward()
    assert latent.grad is None
    assert feature_distance(binary, -binary).item() == pytest.approx(4.0, abs=1e-5)


def test_centre_loss_pulls_features_of_a_class_together() -> None:
    loss = CentreLoss(2, 3, rate=1.0)
    features, labels = torch.tensor([[1.0, 0, 0], [3.0, 0, 0]]), torch.tensor([1, 1])
    assert loss(features, labels).item() == pytest.approx(0.5 * (1 + 9) / 2)
    assert loss.centres[1].tolist() == pytest.approx([4 / 3, 0, 0])  # Σ offsets / (1 + n)
    assert loss.centres[0].tolist() == [0, 0, 0]
    before = loss.centres.clone()
    loss.eval()(features, labels)
    assert torch.equal(loss.centres, before)


def test_l2_with_centres_runs_and_counts_them() -> None:
    network, (images, labels) = small(), batch()
    objective = build_objective(network, Settings(latent="L2", centre=0.1)).train()
    objective(images, labels)[0].backward()
    assert objective.centres is not None
    assert objective.centres.centres.shape == (10, 8)
    assert float(objective.centres.centres.abs().sum()) > 0


def test_l3_block_is_the_formula_and_fades_to_the_bare_network() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(BinaryBlock(3, 3), nn.Flatten(), nn.Linear(48, 2))
    images, labels = torch.randn(5, 3, 4, 4), torch.tensor([0, 1, 0, 1, 1])
    objective = build_objective(network, Settings(latent="L3", fade=0.8)).eval()
    objective.set_progress(0.4, 1)
    block = network[0]
    own = objective.latent.get_submodule("0.conv")
    for norm in (block.norm, own):
        nn.init.normal_(norm.weight)
    moved = images - block.sign.threshold.view(1, -1, 1, 1)
    u = block.norm(block.conv(block.sign(images)))
    u = u + 0.5 * own(F.conv2d(moved, block.conv.weight, padding=1))
    expected = network[2](network[1](block.act(u + images)))
    assert torch.allclose(objective(images, labels)[1], expected, atol=1e-5)
    objective.set_progress(0.8, 2)
    assert torch.equal(objective(images, labels)[1], network(images))


@pytest.mark.parametrize("pad_value", [0, 1])
def test_l4_has_the_binary_value_and_both_gradients(pad_value: int) -> None:
    torch.manual_seed(0)
    sign, layer = RSign(3), BinaryConv2d(3, 4, 3, stride=2, padding=1, pad_value=pad_value)
    x, upstream = torch.randn(2, 3, 6, 6, requires_grad=True), torch.randn(2, 4, 3, 3)
    signs = sign(x).detach().requires_grad_()
    # By plain autograd: y_b and y_w on their own.
    real = (x - sign.threshold.view(1, -1, 1, 1)).detach().requires_grad_()
    to_signs, of_binary = torch.autograd.grad((layer(signs) * upstream).sum(), [signs, layer.weight])
    to_real, of_latent = torch.autograd.grad(
        (layer.convolve(real, layer.weight) * upstream).sum(), [real, layer.weight]
    )
    share = 0.3 * of_binary.norm() / of_latent.norm()
    out = self_cancel(layer, signs, x - sign.threshold.view(1, -1, 1, 1), 0.3)
    assert torch.equal(out, layer(signs))
    found = torch.autograd.grad((out * upstream).sum(), [signs, x, layer.weight])
    for have, want in zip(found, (to_signs, share * to_real, of_binary + share * of_latent), strict=True):
        assert torch.allclose(have, want, atol=1e-5)


def test_l4_of_a_dense_layer_has_the_binary_value() -> None:
    torch.manual_seed(0)
    sign, layer = RSign(7), BinaryLinear(7, 5)
    x, signs = torch.randn(3, 7), sign(torch.randn(3, 7)).detach()
    out = self_cancel(layer, signs, x, 0.3)
    assert torch.equal(out, layer(signs))
    of_binary = torch.autograd.grad(layer(signs).sum(), layer.weight)[0]
    of_latent = torch.autograd.grad((x @ layer.weight.T).sum(), layer.weight)[0]
    expected = of_binary + 0.3 * of_binary.norm() / of_latent.norm() * of_latent
    assert torch.allclose(torch.autograd.grad(out.sum(), layer.weight)[0], expected, atol=1e-6)


def test_l4_logits_are_the_bare_networks_throughout() -> None:
    network, (images, labels) = small(), batch()
    objective = build_objective(network, Settings(latent="L4")).eval()
    assert torch.equal(objective(images, labels)[1], network(images))


def test_l5_mixes_logits_then_forgets_the_latent_stream() -> None:
    network, (images, labels) = small(), batch()
    objective = build_objective(network, Settings(latent="L5", fade=0.8)).eval()
    objective.set_progress(0.4, 0)
    binary, latent = network(images), objective.latent_logits(images)
    expected = F.cross_entropy(0.5 * binary + 0.5 * latent, labels) + F.cross_entropy(binary, labels)
    assert torch.allclose(objective(images, labels)[0], expected, atol=1e-5)
    objective.set_progress(0.9, 0)
    assert torch.allclose(objective(images, labels)[0], 2 * F.cross_entropy(binary, labels), atol=1e-6)


def strengths(objective: Objective, progress: float) -> list[float]:
    objective.set_progress(progress, 0)
    return objective.strength[:3].tolist()


def test_only_variants_that_stop_using_parameters_say_so() -> None:
    used = {name: build_objective(small(), Settings(latent=name)).leaves_unused for name in OBJECTIVES}
    assert used == {"none": False, "L1": False, "L2": False, "L3": True, "L4": False, "L5": True, "L6": False}
    assert build_objective(small(), Settings(latent="L1", latent_every=2)).leaves_unused
    assert build_objective(small(), Settings(latent="L2", latent_until=0.5)).leaves_unused
    assert not build_objective(small(), Settings(latent="none", latent_every=2)).leaves_unused


@pytest.mark.parametrize("variant", sorted(OBJECTIVES))
@pytest.mark.parametrize("changes", [{}, {"latent_every": 2, "latent_until": 0.5}])
def test_a_step_that_leaves_parameters_unused_was_announced(variant: str, changes: dict[str, Any]) -> None:
    objective = build_objective(small(), Settings(latent=variant, **changes)).train()
    unused = False
    for step, progress in enumerate((0.0, 0.1, 0.9)):
        objective.set_progress(progress, step)
        objective.zero_grad()
        objective(*batch())[0].backward()
        unused |= any(parameter.grad is None for parameter in objective.parameters())
    assert unused is objective.leaves_unused


def test_ramps_raise_the_weights_from_zero() -> None:
    settings = Settings(latent="L2", mu=2.0, beta=1.0, gamma=0.4, mu_ramp=0.5, beta_ramp=0.25)
    objective = build_objective(small(), settings)
    assert strengths(objective, 0.0) == pytest.approx([0.0, 0.0, 0.4])
    assert strengths(objective, 0.125) == pytest.approx([0.5, 0.5, 0.4])
    assert strengths(objective, 0.75) == pytest.approx([2.0, 1.0, 0.4])


@pytest.mark.parametrize("variant", ["L1", "L2", "L5", "L6"])
def test_a_stream_on_part_of_the_batch_reads_its_first_rows(variant: str) -> None:
    network, (images, labels) = small(), batch()
    objective = build_objective(network, Settings(latent=variant, latent_share=0.5)).train()
    seen: list[int] = []
    objective.stream.module.head.register_forward_hook(lambda module, args, out: seen.append(len(out)))
    assert math.isfinite(objective(images, labels)[0].item())
    assert seen == [3]
    assert len(objective.eval().latent_logits(images)) == 6


def test_a_stream_on_every_second_step_and_in_a_part_of_the_schedule() -> None:
    network, (images, labels) = small(), batch()
    objective = build_objective(network, Settings(latent="L1", latent_every=2, latent_until=0.5)).eval()
    bare = F.cross_entropy(network(images), labels)
    ran = []
    for step, progress in enumerate((0.0, 0.1, 0.2, 0.3, 0.6)):
        objective.set_progress(progress, step)
        ran.append(not torch.allclose(objective(images, labels)[0], bare))
    assert ran == [True, False, True, False, False]


@pytest.mark.parametrize("variant", ["L3", "L4"])
def test_variants_inside_blocks_name_a_chain_they_cannot_use(variant: str) -> None:
    network = nn.Sequential(RSign(1), BinaryConv2d(1, 2, 3), nn.Flatten(), nn.Linear(72, 2))
    objective = build_objective(network, Settings(latent=variant))
    with pytest.raises(UnsupportedError, match=r"1 of Sequential is not between an RSign and a batch norm"):
        objective(torch.randn(2, 1, 8, 8), torch.tensor([0, 1]))
