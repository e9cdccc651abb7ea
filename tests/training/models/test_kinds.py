"""Blocks of other kinds: each trains with and without a latent branch, is packed, and answers as the network does."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from latentbit.export import export_onnx
from latentbit.runtime import InferenceSession
from latentbit.runtime.errors import ConfigError
from latentbit.training import bake
from latentbit.training.latent.objectives import build_objective
from latentbit.training.layers.signs import signs_of
from latentbit.training.models.blocks import NORMS
from latentbit.training.models.catalogue import build_model
from latentbit.training.models.kinds import BLOCKS, build_stage
from latentbit.training.settings import Settings

COMMON = {"pad_value": 0, "downsample_kind": "float", "norm": "after"}
CONVOLUTIONS = {"residual": 6, "pair": 6, "plain": 6, "fractal": 9, "ghost": 12, "attention": 6}
"""Packed layers of ``resnet8`` by the kind of its blocks."""


@pytest.mark.parametrize(
    ("kind", "norm"), [*((kind, "after") for kind in BLOCKS), *(("residual", norm) for norm in NORMS[1:])]
)
def test_a_network_of_every_kind_is_packed_and_answers_as_it_was_trained(kind: str, norm: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = build_model("resnet8", width=4, block=kind, norm=norm)
    images = torch.randn(6, 3, 24, 24)
    optimizer = torch.optim.Adam(network.parameters(), 0.01)
    for _ in range(2):
        F.cross_entropy(network(images), torch.arange(6)).backward()
        optimizer.step()
    bake(network)
    path = export_onnx(network.eval(), images, tmp_path / "net.onnx")
    session = InferenceSession(path)
    feeds = {session.get_inputs()[0].name: images.numpy()}
    assert len(session.trace(feeds)) == CONVOLUTIONS[kind]
    (found,) = session.run(None, feeds)
    with torch.no_grad():
        wanted = network(images).numpy()
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max())


@pytest.mark.parametrize("kind", BLOCKS)
def test_a_latent_branch_runs_over_every_kind(kind: str) -> None:
    network = build_model("digits_resnet", width=4, block=kind)
    objective = build_objective(network, Settings(latent="L1"))
    loss, _ = objective(torch.randn(4, 1, 8, 8), torch.arange(4))
    loss.backward()
    assert all(parameter.grad is not None for parameter in objective.parameters())


def test_a_fractal_block_is_the_mean_of_its_columns() -> None:
    (block,) = build_stage("fractal", 4, 4, 1, 2, **COMMON)
    block.eval()
    x = torch.randn(2, 4, 5, 5)
    columns = block.second.norm(block.second.conv(signs_of(block.first(x)))) + block.beside.norm(
        block.beside.conv(signs_of(x))
    )
    assert torch.allclose(block(x), block.act(columns / 2 + x), atol=1e-5)


def test_attention_weighs_each_value_by_the_scales_of_its_norm() -> None:
    (block,) = build_stage("attention", 2, 2, 1, 1, **COMMON)
    block.eval()
    block.weighing.weight.data = torch.tensor([3.0, -1.0])
    x = torch.randn(2, 2, 5, 5)
    features = block.norm(block.conv(signs_of(x)))
    weight = torch.tensor([0.75, 0.25]).view(-1, 1, 1)
    expected = features * torch.sigmoid(weight * block.weighing(features)) + x
    assert torch.allclose(block(x), block.act(expected), atol=1e-5)


def test_ghosts_are_made_from_the_convolved_half() -> None:
    (block,) = build_stage("ghost", 4, 6, 2, 1, **COMMON)
    block.eval()
    x = torch.randn(2, 4, 6, 6)
    own = block.norm(block.conv(signs_of(x)))
    assert own.shape[1] == 3
    ghosts = block.ghost[2](block.ghost[1](signs_of(own)))
    assert torch.allclose(block(x), block.act(torch.cat((own, ghosts), 1) + block.shortcut(x)), atol=1e-5)


def test_what_cannot_be_built_is_said_in_a_line() -> None:
    with pytest.raises(ConfigError, match="unknown block 'dense': choose one of attention, fractal, ghost"):
        build_stage("dense", 4, 4, 1, 2, **COMMON)
    with pytest.raises(ConfigError, match="unknown norm 'instance': choose one of after, before, both, none"):
        build_stage("residual", 4, 4, 1, 2, **COMMON | {"norm": "instance"})
    with pytest.raises(ConfigError, match="even number of channels, not 3"):
        build_stage("ghost", 4, 3, 1, 1, **COMMON)
