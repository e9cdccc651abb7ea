"""Bring your own network: a float network is binarised, trains, and answers the same when it is deployed."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from latentbit.export import export_onnx
from latentbit.runtime.errors import ConfigError, UnsupportedError
from latentbit.training.data.catalogue import load
from latentbit.training.latent.objectives import build_objective
from latentbit.training.layers.binary import BinaryConv2d, BinaryLinear, RPReLU, RSign
from latentbit.training.models.binarize import KEPT_FLOAT, binarize
from latentbit.training.settings import Settings


class Theirs(nn.Module):
    """A network as people write them: one ReLU called everywhere, a functional one, biases, a residual."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16)
        self.conv2, self.bn2 = nn.Conv2d(16, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16)
        self.conv3 = nn.Conv2d(16, 32, 3, stride=2, padding=1)
        self.fc1, self.fc2 = nn.Linear(32, 24), nn.Linear(24, 10)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)) + x)
        x = F.relu(self.conv3(x)).mean((2, 3))
        return self.fc2(F.relu(self.fc1(x)))


def kinds(network: nn.Module) -> dict[str, type[nn.Module]]:
    return {name: type(module) for name, module in network.named_modules()}


def test_layers_between_first_and_last_become_binary() -> None:
    theirs = Theirs()
    ours = binarize(theirs, torch.zeros(2, 1, 8, 8))
    found = kinds(ours)
    assert found["conv1"] is nn.Conv2d
    assert found["fc2"] is nn.Linear
    assert found["conv2.conv"] is found["conv3.conv"] is BinaryConv2d
    assert found["fc1.dense"] is BinaryLinear
    assert "conv2.norm" not in found, "a batch norm follows already"
    assert found["conv3.norm"] is nn.BatchNorm2d
    assert found["relu"] is RPReLU, "in front of binary layers, for one number of channels"
    assert vars(ours)["meta"][KEPT_FLOAT] == {
        "conv1": "the first layer (keep_first)",
        "fc2": "the last layer (keep_last)",
    }
    assert ours.get_submodule("conv2.conv").weight is theirs.conv2.weight
    assert type(theirs.conv2) is nn.Conv2d, "their network keeps its form"


def test_a_filter_and_the_ends_can_be_chosen() -> None:
    ours = binarize(
        Theirs(), torch.zeros(2, 1, 8, 8), keep_first=False, keep_last=False, select=lambda p, m: p != "fc1"
    )
    assert kinds(ours)["conv1.conv"] is BinaryConv2d
    assert kinds(ours)["fc1"] is nn.Linear
    assert vars(ours)["meta"][KEPT_FLOAT] == {"fc1": "not selected"}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of TorchScript
def test_nothing_to_binarise_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"0: the first layer.*2: a ConvTranspose2d.*3: the last layer"):
        binarize(
            nn.Sequential(nn.Conv2d(1, 4, 1), nn.ReLU(), nn.ConvTranspose2d(4, 4, 3), nn.Conv2d(4, 2, 1)),
            torch.zeros(2, 1, 8, 8),
        )
    with pytest.raises(UnsupportedError, match=r"does not run on an example of shape \[2, 3, 8, 8\]"):
        binarize(Theirs(), torch.zeros(2, 3, 8, 8))
    with pytest.raises(UnsupportedError, match="give the module that was scripted"):
        binarize(torch.jit.script(nn.Sequential(nn.Linear(3, 3))), torch.zeros(2, 3))  # type: ignore[no-untyped-call]
    with pytest.raises(ConfigError, match="no Conv1d, Conv2d or Linear"):
        binarize(nn.Sequential(nn.ReLU()), torch.zeros(2, 3))


@pytest.mark.parametrize("weight_only", [False, True])
def test_a_converted_network_trains_and_deploys(weight_only: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    data = load("digits")
    images = torch.from_numpy(data.normalise(data.train_images[:256]))
    labels = torch.from_numpy(data.train_labels[:256])
    network = binarize(Theirs(), images[:2], weight_only=weight_only, pad_value=0)
    assert any(isinstance(module, RSign) for module in network.modules()) is not weight_only
    optimiser = torch.optim.Adam(network.parameters(), 3e-3)
    losses = []
    for _ in range(30):
        loss = F.cross_entropy(network(images), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
    network.eval()
    path = export_onnx(network, images[:2], tmp_path / "m.onnx")
    operators = {node.op_type for node in onnx.load(path).graph.node if node.domain == "ai.latentbit"}
    packed = {"BinaryWeightConv2d", "BinaryWeightGemm"} if weight_only else {"BinaryConv2d", "BinaryGemm", "Binarize"}
    assert operators == packed
    with torch.no_grad():
        expected = network(images[:100]).numpy()
    (result,) = onnxruntime.InferenceSession(path).run(None, {"input": images[:100].numpy()})
    # A sign whose argument lies within the rounding of the float stem may flip: rare, and bounded here by its count.
    close = np.isclose(result, expected, rtol=1e-4, atol=1e-4).all(axis=1)
    assert close.mean() >= 0.97


@pytest.mark.parametrize("latent", ["L1", "L4"])
def test_a_converted_network_has_a_latent_branch(latent: str) -> None:
    network = binarize(Theirs(), torch.zeros(2, 1, 8, 8))
    objective = build_objective(network, Settings(latent=latent))
    objective.set_progress(0.0, 0)
    images, labels = torch.randn(8, 1, 8, 8), torch.arange(8)
    loss, logits = objective(images, labels)
    torch.testing.assert_close(logits, network(images))
    loss.backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_relus_that_no_rprelu_can_stand_for_stay() -> None:
    theirs = nn.Sequential(
        nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 8), shared := nn.ReLU(), nn.Linear(8, 5), shared, nn.Linear(5, 5),
        nn.ReLU(), nn.Linear(5, 2),
    )  # fmt: skip
    found = kinds(binarize(theirs, torch.zeros(4, 6)))
    assert [found[path] for path in ("1", "3", "7")] == [RPReLU, nn.ReLU, nn.ReLU]
    assert kinds(binarize(theirs, torch.zeros(4, 3, 6)))["1"] is nn.ReLU, "channels are the last axis"
    assert kinds(binarize(theirs, torch.zeros(4, 6), weight_only=True))["1"] is nn.ReLU
