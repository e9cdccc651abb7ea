"""A whole step of L1 in the operators of a textbook: what the layers do to be quick changes no loss and no gradient."""

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from latentbit.training.latent.objectives import build_objective
from latentbit.training.layers.binary import RPReLU, RSign
from latentbit.training.models.blocks import BinaryBlock, BinaryHead
from latentbit.training.models.catalogue import build_model
from latentbit.training.settings import Settings


def straight_through(value: Tensor, path: Tensor) -> Tensor:
    return value.detach() + path - path.detach()


def signs(x: Tensor) -> Tensor:
    """Bi-Real Net's estimator: the gradient of the quadratic 2x − x·|x| over [−1, 1]."""
    inside = x.clamp(-1, 1)
    return straight_through(torch.where(x >= 0, 1.0, -1.0).to(x.dtype), 2 * inside - inside * inside.abs())


def binary(weight: Tensor) -> Tensor:
    scale = weight.abs().mean(tuple(range(1, weight.dim())), keepdim=True)
    return straight_through(torch.where(weight >= 0, scale, -scale), weight.clamp(-1, 1))


def wide(parameter: Tensor, x: Tensor) -> Tensor:
    return parameter.view(1, -1, *(1 for _ in x.shape[2:]))


def moved(sign: RSign, x: Tensor) -> Tensor:
    return x - wide(sign.threshold, x)


def act(layer: RPReLU, x: Tensor) -> Tensor:
    x = x - wide(layer.shift_in, x)
    return torch.where(x > 0, x, wide(layer.slope, x) * x) + wide(layer.shift_out, x)


class Plain:
    """Logits of one stream of digits_resnet; ``norms`` are those of the stream in the order of their use."""

    def __init__(self, norms: list[nn.Module], latent: bool) -> None:
        self.norms, self.latent = norms, latent

    def norm(self, x: Tensor) -> Tensor:
        layer = self.norms.pop(0)
        axes = [0, *range(2, x.dim())]
        mean, variance = x.mean(axes, keepdim=True), x.var(axes, correction=0, keepdim=True)
        return (x - mean) / (variance + layer.eps).sqrt() * wide(layer.weight, x) + wide(layer.bias, x)

    def operands(self, source: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        return (source, weight) if self.latent else (signs(source), binary(weight))

    def block(self, block: BinaryBlock, x: Tensor) -> Tensor:
        source, weight = self.operands(moved(block.sign, x), block.conv.weight)
        out = self.norm(F.conv2d(source, weight, stride=block.conv.stride, padding=1))
        if isinstance(block.shortcut, nn.Identity):
            return act(block.act, out + x)
        pool, conv, _ = block.shortcut.children()
        return act(block.act, out + self.norm(conv(pool(x))))

    def head(self, head: BinaryHead, x: Tensor) -> Tensor:
        source, weight = self.operands(moved(head.sign, x), head.dense.weight)
        return act(head.act, self.norm(source @ weight.T))

    def logits(self, network: nn.Module, images: Tensor) -> Tensor:
        x = self.norm(network.stem[0](images))
        for block in network.blocks:
            x = self.block(block, x)
        return network.head(self.head(network.hidden, x.mean((2, 3))))


def test_losses_and_gradients_are_those_of_the_plain_definition() -> None:
    torch.manual_seed(0)
    network = build_model("digits_resnet", width=4)
    objective = build_objective(network, Settings(latent="L1", mu=0.7, beta=0.3, temperature=2.0)).double().train()
    for name, parameter in objective.named_parameters():
        if parameter.dim() == 1:  # thresholds, shifts, slopes and batch norms away from where they start
            nn.init.normal_(parameter, 0.5 if name.endswith("slope") else 0.0, 0.3)
    nn.init.normal_(network.blocks[0].conv.weight)  # some beyond ±1, where the clipped identity stops
    objective.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    images = torch.randn(8, 1, 8, 8, dtype=torch.float64).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(0, 10, (8,))

    plain = copy.deepcopy(network)
    added = copy.deepcopy(objective.latent)
    kinds = nn.BatchNorm2d | nn.BatchNorm1d
    own = [module for module in plain.modules() if isinstance(module, kinds)]
    other = [module for module in added.modules() if isinstance(module, kinds)]
    binary_logits = Plain(own, latent=False).logits(plain, images).float()
    latent_logits = Plain(other, latent=True).logits(plain, images).float()
    log_student, teacher = F.log_softmax(binary_logits / 2, 1), F.softmax(latent_logits / 2, 1).detach()
    kl = (teacher * (teacher.log() - log_student)).sum(1).mean()
    wanted = F.cross_entropy(binary_logits, labels) + 0.7 * F.cross_entropy(latent_logits, labels) + 0.3 * 4 * kl
    wanted.backward()

    found, _ = objective(images, labels)
    found.backward()
    assert torch.allclose(found.float(), wanted, rtol=1e-6)
    gradients = {f"network.{n}": p for n, p in plain.named_parameters()}
    gradients |= {f"latent.{n}": p for n, p in added.named_parameters()}
    assert gradients.keys() == dict(objective.named_parameters()).keys()
    for name, parameter in objective.named_parameters():
        want = gradients[name].grad
        assert want.abs().sum() > 0, name
        # A gradient that cancels to nothing is a rounding of its terms, which are of the size of 1.
        assert torch.allclose(parameter.grad, want, rtol=1e-5, atol=max(1e-6 * float(want.abs().max()), 1e-14)), name
