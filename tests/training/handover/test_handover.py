"""Folding and recording: the folded network against the trained one, adversarial batch norms included."""

import io
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from latentbit.export import export_onnx
from latentbit.runtime.bits import sign, unpack_signs
from latentbit.runtime.errors import DataError, UnsupportedError
from latentbit.training.handover.fold import fold
from latentbit.training.handover.folded import ChannelAffine, FoldedBinaryConv2d
from latentbit.training.handover.reference import load_folded, record, save_folded
from latentbit.training.layers.binary import BinaryConv2d, BinaryLinear, RPReLU, RSign
from latentbit.training.models.catalogue import build_model

GAMMAS = st.sampled_from([0.0, -0.0, 1.0, -1.0, 1e-30, -3.5, 0.37])
VARIANCES = st.sampled_from([0.0, 1e-12, 0.5, 1.0, 1e4])
SHIFTS = st.sampled_from([0.0, -0.0, 0.25, -2.0, 7.0])


def scatter(network: nn.Module, seed: int = 0) -> nn.Module:
    """Give every batch norm and learned shift values as after training."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            for tensor in (module.weight, module.bias, module.running_mean):
                tensor.data.normal_(generator=generator)
            module.running_var.uniform_(0.5, 2.0, generator=generator)
        if isinstance(module, RPReLU | RSign):
            for parameter in module.parameters():
                parameter.data.normal_(generator=generator).mul_(0.2)
    return network.eval()


@settings(max_examples=60, deadline=None)
@given(data=st.data(), channels=st.integers(1, 12), width=st.integers(1, 5))
def test_folding_equals_float64(data: st.DataObject, channels: int, width: int) -> None:
    """scale·acc + bias of the fold, against batch norm of alpha·acc evaluated in float64, for hostile batch norms."""
    conv, norm = BinaryConv2d(channels, 4, 3, padding=1), nn.BatchNorm2d(4)
    for tensor, values in ((norm.weight, GAMMAS), (norm.bias, SHIFTS), (norm.running_mean, SHIFTS)):
        tensor.data.copy_(torch.tensor(data.draw(st.lists(values, min_size=4, max_size=4))))
    norm.running_var.copy_(torch.tensor(data.draw(st.lists(VARIANCES, min_size=4, max_size=4))))
    network = nn.Sequential(RSign(channels), conv, norm).eval()
    x = torch.randn(2, channels, width, 5)
    folded = fold(network)
    signs = torch.where(x >= 0, 1.0, -1.0)
    acc = folded.get_submodule("1").accumulate(signs).double()
    alpha = conv.weight.detach().double().abs().mean((1, 2, 3)).float().double().view(-1, 1, 1)
    gamma, beta, mean, variance = (
        t.detach().double().view(-1, 1, 1) for t in (norm.weight, norm.bias, norm.running_mean, norm.running_var)
    )
    expected = gamma * (alpha * acc - mean) / torch.sqrt(variance + norm.eps) + beta
    # scale, bias, product and sum are each rounded once to float32
    magnitude = (gamma * alpha * acc).abs() / torch.sqrt(variance + norm.eps) + beta.abs() + (gamma * mean).abs() * 400
    assert torch.all((folded(x).double() - expected).abs() <= 4 * 2.0**-24 * magnitude + 1e-30)


def test_the_digits_network_keeps_its_answers() -> None:
    network = scatter(build_model("digits_resnet"))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    folded = fold(network)
    x = torch.randn(64, 1, 8, 8)
    with torch.no_grad():
        difference = (network(x) - folded(x)).abs().max()
    assert difference < 1e-4  # the float stem and shortcuts are rounded once more or once less than in training
    assert fold(folded) is folded
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    kinds = {type(module).__name__ for module in folded.modules()}
    assert not kinds & {"BatchNorm1d", "BatchNorm2d", "BinaryConv2d", "BinaryLinear", "RSign"}


def test_a_batch_norm_without_a_layer_before_it_becomes_scale_and_shift() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.conv, self.norm = nn.BatchNorm2d(3), nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

        def forward(self, x: Tensor) -> Tensor:
            y = self.conv(self.first(x))
            return self.norm(y) + y  # y has two readers: the norm must not be folded into its layer

    network = scatter(Shared())
    folded = fold(network)
    assert isinstance(folded.get_submodule("first"), ChannelAffine)
    assert isinstance(folded.get_submodule("norm"), ChannelAffine)
    x = torch.randn(2, 3, 4, 4)
    torch.testing.assert_close(folded(x), network(x))


def test_a_layer_called_twice_is_folded_once() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.sign, self.conv, self.norm = RSign(4), BinaryConv2d(4, 4, 1), nn.BatchNorm2d(4)

        def forward(self, x: Tensor) -> Tensor:
            return self.norm(self.conv(self.sign(self.conv(self.sign(x)))))

    network = scatter(Twice())
    x = torch.randn(2, 4, 3, 3)
    torch.testing.assert_close(fold(network)(x), network(x))


def test_diverged_training_is_refused() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))
    network[1].running_mean.fill_(float("nan"))
    with pytest.raises(UnsupportedError, match="1: holds NaN"):
        fold(network)
    network[1].running_mean.zero_()
    network[1].running_var.fill_(-1.0)
    with pytest.raises(UnsupportedError, match="1: the running variance"):
        fold(network)


def test_the_record_holds_logits_and_the_signs_of_every_binary_layer() -> None:
    folded = fold(scatter(build_model("digits_resnet")))
    inputs = np.random.default_rng(0).normal(size=(10, 1, 8, 8)).astype(np.float32)
    kept = record(folded, inputs, batch_size=4)
    with torch.no_grad():
        np.testing.assert_allclose(kept["logits"], folded(torch.from_numpy(inputs)).numpy(), rtol=1e-5, atol=1e-6)
    layers = [name for name, module in folded.named_modules() if isinstance(module, FoldedBinaryConv2d)]
    assert {f"signs/{name}" for name in layers} < set(kept)
    first = unpack_signs(kept["signs/blocks.0.conv"], int(kept["shape/blocks.0.conv"][0]), axis=1)
    stem = folded.get_submodule("stem.0")(torch.from_numpy(inputs)).detach().numpy()
    threshold = folded.get_submodule("blocks.0.sign").threshold.numpy().reshape(-1, 1, 1)
    assert np.array_equal(first, sign(stem - threshold))


def test_folded_values_are_kept_and_checked(tmp_path: Path) -> None:
    network = scatter(build_model("digits_resnet"))
    save_folded(fold(network), tmp_path / "folded.pt")
    x = torch.randn(3, 1, 8, 8)
    other = build_model("digits_resnet")
    assert torch.equal(load_folded(other, tmp_path / "folded.pt")(x), fold(network)(x))
    with pytest.raises(DataError, match="run the stage fold again"):
        load_folded(build_model("digits_resnet", width=16), tmp_path / "folded.pt")
    whole = (tmp_path / "folded.pt").read_bytes()
    (tmp_path / "folded.pt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"folded\.pt"):
        load_folded(other, tmp_path / "folded.pt")
    buffer = io.BytesIO()
    torch.save({"payload": Path}, buffer)  # a pickle of something else than tensors
    (tmp_path / "folded.pt").write_bytes(buffer.getvalue())
    with pytest.raises(DataError, match="not the folded values"):
        load_folded(other, tmp_path / "folded.pt")


def test_names_shapes_and_symbolic_sizes(tmp_path: Path) -> None:
    network = scatter(build_model("digits_resnet"))
    path = export_onnx(network, torch.zeros(2, 1, 8, 8), tmp_path / "m.onnx", metadata={"labels": ["a", "b"]})
    model = onnx.load(path)
    assert {"blocks.0.conv", "blocks.2.shortcut.1", "head", "hidden.dense"} < {node.name for node in model.graph.node}
    assert "blocks.0.conv.weight" in {tensor.name for tensor in model.graph.initializer}
    assert {p.key: p.value for p in model.metadata_props}["latentbit.labels"] == '["a", "b"]'
    assert {f.name for f in model.functions} == {"BinaryConv2d", "BinaryGemm", "Binarize"}
    described = {value.name for value in model.graph.value_info} | {"logits"}
    assert {output for node in model.graph.node for output in node.output} <= described


def test_image_size_may_be_symbolic(tmp_path: Path) -> None:
    network = scatter(build_model("digits_resnet"))
    path = export_onnx(network, torch.zeros(2, 1, 8, 8), tmp_path / "m.onnx", dynamic_spatial=True)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].shape == ["N", 1, "H", "W"]
    x = torch.randn(1, 1, 12, 20)
    with torch.no_grad():
        expected = fold(network)(x).numpy()
    np.testing.assert_allclose(session.run(None, {"input": x.numpy()})[0], expected, rtol=1e-4, atol=1e-5)


def test_dense_networks_export(tmp_path: Path) -> None:
    network = scatter(nn.Sequential(nn.Flatten(), RSign(12), BinaryLinear(12, 5), nn.BatchNorm1d(5), nn.Linear(5, 2)))
    x = torch.randn(4, 3, 2, 2)
    path = export_onnx(network, x, tmp_path / "m.onnx")
    (result,) = onnxruntime.InferenceSession(path).run(None, {"input": x.numpy()})
    np.testing.assert_allclose(result, fold(network)(x).detach().numpy(), rtol=1e-5, atol=1e-6)
