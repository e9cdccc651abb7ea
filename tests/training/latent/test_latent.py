"""The latent branch L1: its two streams against a plain computation, and that nothing of it remains."""

import sys

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from latentbit.runtime.errors import ConfigError, UnsupportedError
from latentbit.training.latent import objectives as latent
from latentbit.training.latent.objectives import build_objective
from latentbit.training.latent.supervision import distillation
from latentbit.training.layers.weight_only import BinaryWeightConv2d
from latentbit.training.models.blocks import BinaryBlock
from latentbit.training.models.catalogue import build_model
from latentbit.training.settings import Settings

from ...support.small import batch, small


def latent_block(block: BinaryBlock, norms: list[nn.Module], x: torch.Tensor) -> torch.Tensor:
    """One block of the latent stream, written out by hand: ρ(BN_w((x − t) ⊛ W) + S_w(x))."""
    moved = x - block.sign.threshold.view(1, -1, 1, 1)
    out = norms.pop(0)(F.conv2d(moved, block.conv.weight, stride=block.conv.stride, padding=1))
    if isinstance(block.shortcut, nn.Identity):
        return block.act(out + x)
    pool, conv, _ = block.shortcut.children()
    return block.act(out + norms.pop(0)(conv(pool(x))))


def test_latent_stream_equals_its_definition() -> None:
    network, (images, _) = small(), batch()
    objective = build_objective(network, Settings(latent="L1"))
    norms = [module for module in objective.latent.modules() if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d)]
    for norm in norms:
        nn.init.normal_(norm.weight)
    objective.eval()
    x = norms.pop(0)(network.stem[0](images))
    for block in network.blocks:
        x = latent_block(block, norms, x)
    x = network.flatten(network.pool(x))
    hidden = network.hidden
    x = hidden.act(norms.pop(0)(F.linear(x - hidden.sign.threshold, hidden.dense.weight)))
    assert not norms
    assert torch.allclose(objective.latent_logits(images), network.head(x), atol=1e-5)


def test_binary_logits_are_those_of_the_bare_network_in_training_mode_too() -> None:
    network, (images, labels) = small(), batch()
    expected = network.train()(images)
    _, logits = build_objective(network, Settings(latent="L1")).train()(images, labels)
    assert torch.equal(logits, expected)


def test_loss_is_the_documented_sum() -> None:
    network, (images, labels) = small(), batch()
    settings = Settings(latent="L1", mu=0.7, beta=0.3, temperature=2.0)
    objective = build_objective(network, settings).eval()
    loss, binary = objective(images, labels)
    latent_logits = objective.latent_logits(images)
    kl = (F.softmax(latent_logits / 2, 1) * (F.log_softmax(latent_logits / 2, 1) - F.log_softmax(binary / 2, 1))).sum(1)
    expected = F.cross_entropy(binary, labels) + 0.7 * F.cross_entropy(latent_logits, labels) + 0.3 * 4 * kl.mean()
    assert torch.allclose(loss, expected, atol=1e-5)


def test_distillation_teaches_the_student_alone() -> None:
    student, teacher = torch.randn(4, 3, requires_grad=True), torch.randn(4, 3, requires_grad=True)
    distillation(student, teacher, 2.0).backward()
    assert teacher.grad is None
    assert student.grad is not None
    assert distillation(teacher, teacher, 3.0).item() == pytest.approx(0.0, abs=1e-6)


def test_weights_are_shared_and_learn_from_both_streams() -> None:
    network, (images, labels) = small(), batch()
    objective = build_objective(network, Settings(latent="L1")).train()
    names = [name for name, _ in objective.named_parameters()]
    assert len(names) == len(set(names))
    # What the branch adds is batch norms alone.
    added = [module for module in objective.latent.modules() if list(module.parameters(recurse=False))]
    assert added
    assert all(isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d) for module in added)
    weight = network.blocks[0].conv.weight
    both = torch.autograd.grad(objective(images, labels)[0], weight)[0]
    alone = torch.autograd.grad(F.cross_entropy(network(images), labels), weight)[0]
    assert not torch.allclose(both, alone)


def test_streams_have_their_own_batch_norm_statistics() -> None:
    network, (images, labels) = small(), batch()
    objective = build_objective(network, Settings(latent="L1")).train()
    objective(images, labels)
    norms = [module for module in objective.latent.modules() if isinstance(module, nn.BatchNorm2d)]
    assert len(norms) == 6  # four blocks, one downsample and the stem
    assert torch.equal(norms[0].running_mean, network.stem[1].running_mean), "the same values go into it"
    assert not torch.allclose(norms[1].running_mean, network.blocks[0].norm.running_mean)
    assert {int(norm.num_batches_tracked) for norm in (*norms, network.stem[1], network.blocks[0].norm)} == {1}


@pytest.mark.parametrize("variant", ["none", "L1", "L2", "L3", "L4", "L5", "L6"])
def test_deleting_the_branch_leaves_identical_logits(variant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    network, (images, labels) = small(), batch()
    objective = build_objective(network, Settings(latent=variant))
    optimizer = torch.optim.Adam(objective.parameters(), 1e-2)
    for step in range(3):
        objective.set_progress(step / 3, step)
        loss, _ = objective.train()(images, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    objective.set_progress(1.0, 3)
    trained = objective.eval()(images, labels)[1]
    weights = network.state_dict()
    del objective, optimizer, network
    # The code path of the branch is gone too: nothing that a bare network runs may come from that module.
    monkeypatch.delitem(sys.modules, latent.__name__)
    monkeypatch.setitem(sys.modules, latent.__name__, None)
    bare = build_model("digits_resnet", width=4)
    bare.load_state_dict(weights, strict=True)
    assert torch.equal(bare.eval()(images), trained)
    assert not any("latent" in name for name in weights)


def test_phi_is_applied_to_the_activation() -> None:
    network, (images, _) = small(), batch()
    logits = [
        build_objective(network, Settings(latent="L1", phi=phi)).eval().latent_logits(images)
        for phi in ("identity", "hardtanh", "sign")
    ]
    assert not torch.allclose(logits[0], logits[1])
    assert not torch.allclose(logits[1], logits[2])


def test_a_network_without_binary_layers_cannot_have_a_branch() -> None:
    with pytest.raises(UnsupportedError, match="Sequential has no binary layer"):
        build_objective(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), Settings(latent="L1"))


def test_binary_weights_alone_are_real_in_the_latent_stream() -> None:
    network = nn.Sequential(BinaryWeightConv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(108, 10)).eval()
    images = batch()[0]
    objective = build_objective(network, Settings(latent="L1")).eval()
    expected = network[1:](F.conv2d(images, network[0].weight))
    torch.testing.assert_close(objective.latent_logits(images), expected)


def test_without_a_branch_there_is_no_latent_stream() -> None:
    objective = build_objective(small(), Settings(latent="none"))
    assert not objective.has_latent_stream
    with pytest.raises(UnsupportedError, match="no latent stream"):
        objective.latent_logits(batch()[0])


def test_unknown_variant_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean"):
        Settings(latent="l1")
