"""Random networks of our layers with ordinary Python between them: the branch against its plain definition."""

import copy
from typing import Any

import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from latentbit.training.latent.objectives import build_objective
from latentbit.training.layers.binary import BinaryConv2d, RPReLU, RSign
from latentbit.training.settings import Settings

WIDTH, CLASSES = 4, 3


class Block(nn.Module):
    """Sign, binary convolution, norm: what the plain definition writes out."""

    def __init__(self, pad_value: int) -> None:
        super().__init__()
        self.sign = RSign(WIDTH)
        self.conv = BinaryConv2d(WIDTH, WIDTH, 3, padding=1, pad_value=pad_value)
        self.norm, self.act = nn.BatchNorm2d(WIDTH), RPReLU(WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.norm(self.conv(self.sign(x)))
        return found


class PlainBlock(Block):
    """The same of the latent stream, in the operators of a textbook."""

    def forward(self, x: Tensor) -> Tensor:
        moved = F.pad(x - self.sign.threshold[:, None, None], (1, 1, 1, 1), value=float(self.conv.pad_value))
        found: Tensor = self.norm(F.conv2d(moved, self.conv.weight))
        return found


class Composed(nn.Module):
    """Blocks put together by ``ways``; block ``number`` of a list of modules that may be shorter than the ways."""

    def __init__(self, ways: list[str], blocks: int, pad_value: int, kind: type[Block] = Block) -> None:
        super().__init__()
        self.ways = ways
        self.stem, self.stem_norm = nn.Conv2d(1, WIDTH, 3, padding=1), nn.BatchNorm2d(WIDTH)
        self.blocks = nn.ModuleList([kind(pad_value) for _ in range(blocks)])
        self.order = {number: self.blocks[number % blocks] for number in range(len(ways))}
        self.pool, self.head = nn.AdaptiveAvgPool2d(1), nn.Linear(WIDTH, CLASSES)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        x, kept = self.stem_norm(self.stem(x)), []
        for number, way in enumerate(self.ways):
            block: Any = self.order[number]
            kept.append(x)
            if way == "plain":
                x = block.act(block(x))
            elif way == "in place":
                out = block(x)
                out += x
                x = out.clamp_(-2, 2)
            elif way == "twice":
                x = block(block(x))
            elif way == "by value":
                x = block(x) + x if float(x.detach().mean()) > 0 else block(-x)
            elif way == "turned":
                x = block(x.flip(-1).transpose(2, 3))
            elif way == "all before":
                x = block(sum(kept)) / len(kept)
        return {"scores": self.head(self.pool(x).flatten(1)), "map": x}


def task(outputs: dict[str, Tensor], targets: Tensor) -> Tensor:
    return F.cross_entropy(outputs["scores"], targets) + outputs["map"].square().mean()


def far(outputs: dict[str, Tensor], taught: dict[str, Tensor]) -> Tensor:
    return F.mse_loss(outputs["map"], taught["map"])


ways = st.lists(
    st.sampled_from(["plain", "in place", "twice", "by value", "turned", "all before"]), min_size=1, max_size=4
)
pads = st.sampled_from([-1, 0, 1])


def made(chosen: list[str], blocks: int, pad_value: int, seed: int, kind: type[Block] = Block) -> Composed:
    torch.manual_seed(seed)
    network = Composed(chosen, blocks, pad_value, kind).double().train()
    for parameter in network.parameters():
        if parameter.dim() == 1:
            nn.init.normal_(parameter, 0.3, 0.3)
    return network


def data(seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(4, 1, 5, 5, generator=generator).double(), torch.arange(4) % CLASSES


@settings(max_examples=25, deadline=None)
@given(ways, st.integers(1, 3), pads, st.integers(0, 10))
def test_two_streams_are_two_networks_of_one_weight(chosen: list[str], blocks: int, pad_value: int, seed: int) -> None:
    network, (images, labels) = made(chosen, blocks, pad_value, seed), data(seed)
    bare, latent = copy.deepcopy(network), made(chosen, blocks, pad_value, seed, PlainBlock)
    objective = build_objective(network, Settings(latent="L1", mu=0.5, beta=0.25), task, far).train()
    for own in objective.latent.parameters():
        nn.init.normal_(own, 1.0, 0.3)
    twins = dict(objective.latent.named_parameters())
    latent.load_state_dict(network.state_dict() | twins)
    expected, other = bare(images), latent(images)
    wanted = task(expected, labels) + 0.5 * task(other, labels)
    wanted = wanted + 0.25 * far(expected, {name: value.detach() for name, value in other.items()})
    wanted.backward()

    found, outputs = objective(images, labels)
    found.backward()
    assert all(torch.equal(outputs[name], expected[name]) for name in expected), "z_b is the bare network's"
    torch.testing.assert_close(found, wanted)
    theirs, others = dict(bare.named_parameters()), dict(latent.named_parameters())
    for name, parameter in network.named_parameters():
        sources = [theirs[name], *([] if name in twins else [others[name]])]
        parts = [source.grad for source in sources if source.grad is not None]
        assert (parameter.grad is None) == (not parts), name
        if parts:
            torch.testing.assert_close(parameter.grad, sum(parts), rtol=1e-6, atol=1e-9)
    for name, parameter in twins.items():
        if parameter.grad is not None:
            torch.testing.assert_close(parameter.grad, others[name].grad, rtol=1e-6, atol=1e-9)
    for name, value in objective.latent.named_buffers():
        torch.testing.assert_close(value, latent.get_buffer(name))
    for name, value in network.named_buffers():
        assert torch.equal(value, bare.get_buffer(name)), name


@settings(max_examples=10, deadline=None)
@given(ways, st.integers(1, 3), pads, st.sampled_from(["L1", "L2", "L3", "L4", "L5", "L6"]))
def test_values_are_the_bare_networks_and_deletion_leaves_it(
    chosen: list[str], blocks: int, pad_value: int, variant: str
) -> None:
    network, (images, labels) = made(chosen, blocks, pad_value, 0), data(0)
    bare = copy.deepcopy(network)
    objective = build_objective(network, Settings(latent=variant, fade=0.5), task, far).train()
    optimizer = torch.optim.SGD(objective.parameters(), 1e-2)
    for step, progress in enumerate((0.0, 0.9)):
        objective.set_progress(progress, step)
        expected = bare(images)
        loss, outputs = objective(images, labels)
        if variant != "L3" or progress > 0.5:
            assert all(torch.equal(outputs[name], expected[name]) for name in expected)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        bare.load_state_dict(network.state_dict())
    trained = objective.eval()(images, labels)[1]
    del objective
    fresh = made(chosen, blocks, pad_value, 1)
    fresh.load_state_dict(network.state_dict())
    for found in (fresh.eval()(images), network.eval()(images)):
        assert all(torch.equal(found[name], trained[name]) for name in trained)
