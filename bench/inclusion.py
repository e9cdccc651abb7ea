"""Which binary weights could be left out: posterior inclusion over a trained network, and what the packed file gains.

    python -m bench.inclusion RUN [--epochs 30] [--prior 0.1] [--out docs/results/inclusion/digits.jsonl]

RUN is a finished run of ``pipeline run-all`` on one of our data sets. Every binary weight w = α·sign(W) stays what it
is and gets an indicator γ of {0, 1}, as in latent binary Bayesian networks (Hubin and Storvik 2024; Skaaret-Lund,
Storvik and Hubin, arXiv 2305.03395): a mean-field posterior Bernoulli(p), p = sigmoid(λ), a prior inclusion, and the
local reparametrisation, by which the sums of a layer are normal with mean x·(pw) and variance x²·(p(1 − p)w²). λ, the
batch norms and the classifier are trained on −log likelihood + KL. Then weights with p <= 1/2 are left out (the median
probability model). There are no variances of weights, for a sign has none: this is after the works named, not theirs.

What leaving weights out gains here is measured too: weights of {−1, 0, +1} are two layers of signs in the packed file,
so its bytes and its time are printed beside those of the file with all weights.
"""

import argparse
import json
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from latentbit.export import export_onnx
from latentbit.runtime import InferenceSession
from latentbit.runtime.machine.environment import environment
from latentbit.training import load, load_network
from latentbit.training.layers.binary import BinaryConv2d, BinaryLinear
from latentbit.training.layers.signs import signs_of, weight_scale

from .harness.models import keep_lines
from .harness.timing import by_turns

BATCH = 64
CERTAIN = 3.0
"""λ at the start: an inclusion of 0.95."""


class Included(nn.Module):
    """A binary layer whose weights are each there with a probability; with ``hard`` those above ½ are there."""

    def __init__(self, layer: BinaryConv2d | BinaryLinear) -> None:
        super().__init__()
        self.layer, self.hard = layer, False
        weight = layer.latent_weight().detach()
        self.register_buffer("value", signs_of(weight) * weight_scale(weight))
        self.logit = nn.Parameter(torch.full_like(weight, CERTAIN))

    def _product(self, x: Tensor, weight: Tensor) -> Tensor:
        return self.layer.convolve(x, weight) if isinstance(self.layer, BinaryConv2d) else F.linear(x, weight)

    def forward(self, x: Tensor) -> Tensor:
        """Return a draw of the sums (their local reparametrisation)."""
        value, share = torch.as_tensor(self.value), torch.sigmoid(self.logit)
        if self.hard:
            return self._product(x, value * (share > 0.5))
        mean = self._product(x, value * share)
        variance = self._product(x.square(), value.square() * share * (1 - share))
        return mean + torch.randn_like(mean) * variance.clamp(min=1e-12).sqrt()

    def divergence(self, prior: float) -> Tensor:
        """Return KL(posterior ‖ prior), summed over the weights."""
        share = torch.sigmoid(self.logit)
        yes, no = F.logsigmoid(self.logit), F.logsigmoid(-self.logit)
        return (share * (yes - np.log(prior)) + (1 - share) * (no - np.log(1 - prior))).sum()


def main() -> None:
    """Fit the inclusions, leave weights out, measure, write and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("run", type=Path, help="folder of a finished run")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--prior", type=float, default=0.1, help="prior inclusion")
    parser.add_argument("--out", type=Path, help="file with a line for each prior; others stay")
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    folder = options.run / "1-train"
    data = load(json.loads((folder / "metrics.json").read_text(encoding="utf-8"))["dataset"])
    network = load_network(folder).eval()
    found: dict[str, Any] = {"prior": options.prior, "epochs": options.epochs, "before": accuracy(network, data)}
    layers = include(network)
    fit(network, layers, data, options.epochs, options.prior)
    for layer in layers.values():
        layer.hard = True
    settle(network, data)
    found["after"] = accuracy(network, data)
    kept = {name: float((layer.logit > 0).float().mean()) for name, layer in layers.items()}
    found |= {"kept": kept, "kept_of_all": shares(layers)} | cost(folder, layers, data)
    found["environment"] = environment()
    print(json.dumps(found, indent=1))
    if options.out:
        keep_lines(options.out, [found], "prior")


def include(network: nn.Module) -> dict[str, Included]:
    """Put an :class:`Included` in the place of each binary layer and return them by their paths."""
    found = {}
    for path, layer in list(network.named_modules()):
        if isinstance(layer, BinaryConv2d | BinaryLinear):
            above, _, name = path.rpartition(".")
            found[path] = Included(layer)
            setattr(network.get_submodule(above), name, found[path])
    return found


def fit(network: nn.Module, layers: dict[str, Included], data: Any, epochs: int, prior: float) -> None:
    """Train inclusions, norms and classifier; the signs of the weights stay."""
    for layer in layers.values():
        layer.layer.requires_grad_(False)
    optimizer = torch.optim.Adam((p for p in network.parameters() if p.requires_grad), 0.01)
    images, labels = torch.from_numpy(data.normalise(data.train_images)), torch.from_numpy(data.train_labels).long()
    network.train()
    for _ in range(epochs):
        for rows in torch.randperm(len(images)).split(BATCH):
            loss = F.cross_entropy(network(images[rows]), labels[rows])
            loss = loss + sum(layer.divergence(prior) for layer in layers.values()) / len(images)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


@torch.no_grad()
def settle(network: nn.Module, data: Any) -> None:
    """Take the statistics of the batch norms anew, for the weights that are left; the network is in eval mode then."""
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean over all batches
    network.train()
    for images in torch.from_numpy(data.normalise(data.train_images)).split(BATCH):
        network(images)
    network.eval()


@torch.no_grad()
def accuracy(network: nn.Module, data: Any) -> float:
    """Return the share of right answers on the test images."""
    answers = network(torch.from_numpy(data.normalise(data.test_images))).argmax(1).numpy()
    return float((answers == data.test_labels).mean())


def shares(layers: dict[str, Included]) -> float:
    """Return the share of all binary weights that is kept."""
    total = sum(layer.logit.numel() for layer in layers.values())
    return sum(int((layer.logit > 0).sum()) for layer in layers.values()) / total


def cost(folder: Path, layers: dict[str, Included], data: Any) -> dict[str, Any]:
    """Return bytes and CPU milliseconds of the packed network, and of it with two layers of signs in each one's place.

    Weights of {−1, 0, +1} are ½(sign a + sign b), where a is +1 for weights that are not −1 and b for those that are 1.
    """
    images = torch.from_numpy(data.normalise(data.test_images[:2]))
    sizes, calls = {}, {}
    with tempfile.TemporaryDirectory() as scratch:
        for name in ("signs", "ternary"):
            network = load_network(folder)
            if name == "ternary":
                for path, layer in layers.items():
                    above, _, last = path.rpartition(".")
                    setattr(network.get_submodule(above), last, Ternary(layer))
            path = export_onnx(network.eval(), images, f"{scratch}/{name}.onnx")
            sizes[name] = Path(path).stat().st_size
            session = InferenceSession(path)
            calls[name] = partial(session.run, None, {session.get_inputs()[0].name: images[:1].numpy()})
        times = by_turns(calls, 300)
    return {"bytes": sizes, "cpu_ms": {name: float(np.median(each)) for name, each in times.items()}}


class Ternary(nn.Module):
    """The sum of two binary layers that a layer with left-out weights is."""

    def __init__(self, included: Included) -> None:
        super().__init__()
        weight = torch.as_tensor(included.value) * (included.logit.detach() > 0)
        self.parts = nn.ModuleList()
        for signs in (torch.where(weight < 0, -1.0, 1.0), torch.where(weight > 0, 1.0, -1.0)):
            layer = included.layer
            other: BinaryConv2d | BinaryLinear
            if isinstance(layer, BinaryConv2d):
                other = BinaryConv2d(
                    layer.in_channels, layer.out_channels, layer.kernel_size, stride=layer.stride, padding=layer.padding
                )
            else:
                other = BinaryLinear(layer.in_features, layer.out_features)
            other.weight.data = signs * weight_scale(layer.latent_weight()) / 2
            self.parts.append(other)

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum."""
        first, second = self.parts
        result: Tensor = first(x) + second(x)
        return result


if __name__ == "__main__":
    main()
