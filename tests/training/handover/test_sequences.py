"""Networks over sequences and frames: their binary layers run packed, one behind the other, in one segment."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from latentbit.export import export_onnx
from latentbit.runtime import InferenceSession
from latentbit.training import binarize, prove
from latentbit.training.layers.binary import BinaryConv2d, BinaryLinear, RPReLU, RSign
from latentbit.training.layers.weight_only import BinaryWeightLinear


class OverSequences(nn.Module):
    """Convolutions of ours over ``[N, C, T]``, each between ``unsqueeze`` and ``squeeze``; a sign on either side."""

    def __init__(self, channels: int, blocks: list[dict[str, Any]]) -> None:
        super().__init__()
        self.blocks = blocks
        self.signs = nn.ModuleList(RSign(channels) for _ in blocks)
        self.convs = nn.ModuleList(BinaryConv2d(channels, channels, (1, 3), padding=(0, 1)) for _ in blocks)
        self.norms = nn.ModuleList(nn.BatchNorm1d(channels) for _ in blocks)
        self.acts = nn.ModuleList(RPReLU(channels) for _ in blocks)

    def forward(self, x: Tensor) -> Tensor:
        for block, sign, conv, norm, act in zip(
            self.blocks, self.signs, self.convs, self.norms, self.acts, strict=True
        ):
            source = sign(x).unsqueeze(2) if block["outside"] else sign(x.unsqueeze(2))
            y = norm(conv(source).squeeze(2))
            x = act(y + x if block["residual"] else y)
            if block["pool"]:
                x = nn.functional.max_pool1d(x, 3, 2, 1)
        return x


class OverFrames(nn.Module):
    """Dense layers of ours over ``[N, T, K]``."""

    def __init__(self, size: int, blocks: list[dict[str, Any]]) -> None:
        super().__init__()
        self.blocks = blocks
        self.signs = nn.ModuleList(RSign(size) for _ in blocks)
        self.layers = nn.ModuleList(BinaryLinear(size, size) for _ in blocks)

    def forward(self, x: Tensor) -> Tensor:
        for block, sign, layer in zip(self.blocks, self.signs, self.layers, strict=True):
            y = layer(sign(x.flatten(0, -2)).unflatten(0, x.shape[:-1]) if block["outside"] else self.rows(sign, x))
            x = y + x if block["residual"] else y
            if block["pool"]:
                x = nn.functional.relu(x) - 1
        return x

    @staticmethod
    def rows(sign: nn.Module, x: Tensor) -> Tensor:
        found: Tensor = sign(x.reshape(-1, x.shape[-1])).reshape(x.shape)
        return found


def shake(network: nn.Module) -> nn.Module:
    """Draw what starts as a constant, so that nothing is left out unseen."""
    for name, value in [*network.named_parameters(), *network.named_buffers()]:
        if value.dtype.is_floating_point and value.dim() == 1:
            nn.init.uniform_(value, 0.3, 1.5) if "var" in name else nn.init.normal_(value, 0.1, 0.5)
    return network.eval()


def kinds(path: str) -> str:
    """Return a letter for each step of a file: ``b`` where it is binary, ``f`` where it is float work."""
    return "".join(step.kind[0] for step in InferenceSession(path).get_steps())


def stock(path: str, x: Tensor) -> Any:
    return onnxruntime.InferenceSession(path).run(None, {"input": x.numpy()})[0]


@settings(max_examples=15, deadline=None, phases=[Phase.explicit, Phase.generate])  # an export takes seconds
@given(
    blocks=st.lists(
        st.fixed_dictionaries({"outside": st.booleans(), "residual": st.booleans(), "pool": st.booleans()}),
        min_size=1,
        max_size=3,
    ),
    frames=st.booleans(),
    batch=st.integers(1, 3),
    length=st.integers(1, 9),
    size=st.sampled_from([1, 5, 8, 33]),
    seed=st.integers(0, 99),
)
def test_layers_over_sequences_run_packed_in_one_segment(
    blocks: list[dict[str, Any]],
    frames: bool,
    batch: int,
    length: int,
    size: int,
    seed: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    torch.manual_seed(seed)
    network = shake(OverFrames(size, blocks) if frames else OverSequences(size, blocks))
    x = torch.randn(batch, length, size) if frames else torch.randn(batch, size, length)
    path = export_onnx(network, x, tmp_path_factory.mktemp("sequences") / "m.onnx")
    proof = prove(network, x, path)
    assert proof.failure is None
    if not any(block["pool"] for block in blocks):  # a residual that is a pool's result is made by onnxruntime
        assert kinds(path).strip("f") == "b" * len(blocks)
    (answer,) = InferenceSession(path).run(None, {"input": x.numpy()})
    np.testing.assert_array_equal(answer, stock(path, x))


class Keywords(nn.Module):
    """A float network as one writes it for keyword spotting: TC-ResNet's blocks over ``[N, 20, T]``."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv1d(20, 16, 3, padding=1)
        self.blocks = nn.ModuleList(
            nn.ModuleList([nn.Conv1d(16, 16, 9, padding=4, bias=False), nn.BatchNorm1d(16), nn.ReLU()])
            for _ in range(3)
        )
        self.pool, self.head = nn.AdaptiveAvgPool1d(1), nn.Linear(16, 12)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for index in range(len(self.blocks)):
            conv, norm, act = self.blocks.get_submodule(str(index)).children()
            x = act(norm(conv(x)) + x)
        found: Tensor = self.head(self.pool(x).flatten(1))
        return found


class Mixer(nn.Module):
    """Layer norms and dense layers over ``[N, T, K]``, as in a transformer's blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Linear(20, 16), nn.Linear(16, 12)
        self.norms = nn.ModuleList(nn.LayerNorm(16) for _ in range(2))
        self.wide = nn.ModuleList(nn.Linear(16, 32) for _ in range(2))
        self.narrow = nn.ModuleList(nn.Linear(32, 16) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for norm, wide, narrow in zip(self.norms, self.wide, self.narrow, strict=True):
            x = x + narrow(wide(norm(x)))
        found: Tensor = self.head(x.mean(1))
        return found


@pytest.mark.parametrize(
    ("network", "shape", "steps"),
    [(Keywords(), (3, 20, 30), "fbbbff"), (Mixer(), (3, 7, 20), "fffffbbfbbff")],
    ids=["keywords", "mixer"],
)
def test_a_binarized_network_over_sequences_has_its_layers_side_by_side(
    network: nn.Module, shape: tuple[int, ...], steps: str, tmp_path: Path
) -> None:
    torch.manual_seed(3)
    x = torch.randn(shape)
    binary = shake(binarize(network.eval(), x))
    path = export_onnx(binary, x, tmp_path / "m.onnx")
    assert kinds(path) == steps
    (answer,) = InferenceSession(path).run(None, {"input": x.numpy()})
    np.testing.assert_allclose(answer, stock(path, x), rtol=1e-4, atol=1e-4)


def test_weight_only_layers_over_frames_are_chained(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Linear(5, 8), BinaryWeightLinear(8, 8), nn.ReLU(), BinaryWeightLinear(8, 4)).eval()
    x = torch.randn(2, 6, 5)
    path = export_onnx(network, x, tmp_path / "m.onnx")
    operators = [node.name.rsplit(".")[-1] for node in InferenceSession(path).get_steps()]
    assert len(operators) == 1
    np.testing.assert_allclose(stock(path, x), network(x).detach().numpy(), rtol=1e-4, atol=1e-5)


class Audio(nn.Module):
    """A wide float stem with its activation and pool in front of binary layers, all over ``[N, C, T]``."""

    def __init__(self, *stem: nn.Module) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv1d(1, 8, 9, stride=2), nn.BatchNorm1d(8), *stem)
        self.blocks = nn.Sequential(RSign(8), BinaryConv2d(8, 16, (1, 3)), RPReLU(16))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.blocks(self.stem(x).unsqueeze(2)).squeeze(2)
        return y


@pytest.mark.parametrize(
    "stem", [[RPReLU(8), nn.MaxPool1d(4)], [nn.Sigmoid(), nn.AvgPool1d(3, 2)], [RPReLU(8), nn.MaxPool1d(3, 1, 1)]]
)
def test_images_begin_behind_the_float_convolution(stem: list[nn.Module], tmp_path: Path) -> None:
    torch.manual_seed(5)
    network, x = shake(Audio(*stem)), torch.randn(2, 1, 61)
    path = export_onnx(network, x, tmp_path / "m.onnx")
    operators = [node.op_type for node in onnx.load(path).graph.node]
    assert operators[:2] == ["Conv", "Unsqueeze"]
    assert operators.count("Unsqueeze") == 1
    (answer,) = InferenceSession(path).run(None, {"input": x.numpy()})
    np.testing.assert_allclose(answer, network(x).detach().numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("act", [nn.GELU(), nn.SiLU(), nn.GELU("tanh")])
def test_an_activation_that_the_exporter_writes_as_several_steps_cuts_nothing(act: nn.Module, tmp_path: Path) -> None:
    torch.manual_seed(6)
    network = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 16), act, nn.Linear(16, 8), nn.Linear(8, 8))
    x = torch.randn(2, 3, 5, 8)
    binary = binarize(network.eval(), x)
    path = export_onnx(binary, x, tmp_path / "m.onnx")
    operators = [node.op_type for node in onnx.load(path).graph.node]
    first, last = (index for index, operator in enumerate(operators) if operator == "BinaryGemm")
    assert "Reshape" not in operators[first:last]
    (answer,) = InferenceSession(path).run(None, {"input": x.numpy()})
    np.testing.assert_allclose(answer, binary(x).detach().numpy(), rtol=1e-4, atol=1e-5)
