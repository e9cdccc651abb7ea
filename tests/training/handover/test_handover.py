"""Folding and recording: the folded file against the trained network, adversarial batch norms included."""

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
from latentbit.runtime.errors import ModelError, UnsupportedError
from latentbit.training.layers.binary import BinaryConv2d, BinaryLinear, RSign
from latentbit.training.models.catalogue import build_model

from ...support.deployed import answers, folded, record_of
from ...support.import_graphs import run
from ...support.settled import settled

GAMMAS = st.sampled_from([0.0, -0.0, 1.0, -1.0, 1e-30, -3.5, 0.37])
VARIANCES = st.sampled_from([0.0, 1e-12, 0.5, 1.0, 1e4])
SHIFTS = st.sampled_from([0.0, -0.0, 0.25, -2.0, 7.0])


@settings(max_examples=8, deadline=None)
@given(data=st.data(), channels=st.integers(1, 12), width=st.integers(1, 5))
def test_folding_equals_float64(
    data: st.DataObject, channels: int, width: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """scale·acc + bias of the fold, against batch norm of alpha·acc evaluated in float64, for hostile batch norms."""
    torch.manual_seed(data.draw(st.integers(0, 2**31)))
    conv, norm = BinaryConv2d(channels, 32, 3, padding=1), nn.BatchNorm2d(32)
    for tensor, values in ((norm.weight, GAMMAS), (norm.bias, SHIFTS), (norm.running_mean, SHIFTS)):
        tensor.data.copy_(torch.tensor(data.draw(st.lists(values, min_size=32, max_size=32))))
    norm.running_var.copy_(torch.tensor(data.draw(st.lists(VARIANCES, min_size=32, max_size=32))))
    network = nn.Sequential(RSign(channels), conv, norm).eval()
    x = torch.randn(2, channels, width, 5)
    path = folded(network, x, tmp_path_factory.mktemp("folding"))
    signs, weight = (torch.where(t >= 0, 1.0, -1.0).double() for t in (x, conv.weight.detach()))
    acc = nn.functional.conv2d(signs, weight, padding=1)
    alpha = conv.weight.detach().double().abs().mean((1, 2, 3)).float().double().view(-1, 1, 1)
    gamma, beta, mean, variance = (
        t.detach().double().view(-1, 1, 1) for t in (norm.weight, norm.bias, norm.running_mean, norm.running_var)
    )
    expected = gamma * (alpha * acc - mean) / torch.sqrt(variance + norm.eps) + beta
    # Scale, bias, product and sum are each rounded once to float32. onnxruntime may put the scale into the weights:
    # then the terms of the window are rounded, of which a small sum may be left.
    terms = (gamma * alpha).abs() * conv.weight[0].numel()
    magnitude = terms / torch.sqrt(variance + norm.eps) + beta.abs() + (gamma * mean).abs() * 400
    found = torch.from_numpy(answers(path, x)).double()
    assert torch.all((found - expected).abs() <= 4 * 2.0**-24 * magnitude + 1e-30)


def test_the_folded_file_is_plain_and_keeps_the_answers(tmp_path: Path) -> None:
    network = settled(build_model("digits_resnet"))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    x = torch.randn(64, 1, 8, 8)
    path = folded(network, x[:4], tmp_path)
    with torch.no_grad():
        assert np.abs(network(x).numpy() - answers(path, x)).max() < 1e-4  # float parts are rounded in another order
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    model = onnx.load(path)
    assert not model.functions
    assert {node.domain for node in model.graph.node} == {""}
    assert "BatchNormalization" not in {node.op_type for node in model.graph.node}
    weights = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    conv = network.get_submodule("blocks.0.conv").weight.detach().numpy()
    assert np.array_equal(weights["blocks.0.conv.weight"], np.where(conv >= 0, 1, -1))


def test_a_batch_norm_without_a_layer_before_it_becomes_scale_and_shift(tmp_path: Path) -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.conv, self.norm = nn.BatchNorm2d(3), nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

        def forward(self, x: Tensor) -> Tensor:
            y = self.conv(self.first(x))
            return self.norm(y) + y  # y has two readers: the norm must not be folded into its layer

    network, x = settled(Shared()), torch.randn(2, 3, 4, 4)
    path = folded(network, x, tmp_path)
    assert [node.op_type for node in onnx.load(path).graph.node] == ["Mul", "Add", "Conv", "Mul", "Add", "Add"]
    np.testing.assert_allclose(answers(path, x), network(x).detach().numpy(), rtol=1e-5, atol=1e-5)


def test_a_layer_called_twice_takes_no_norm_in(tmp_path: Path) -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.sign, self.conv, self.norm = RSign(4), BinaryConv2d(4, 4, 1), nn.BatchNorm2d(4)

        def forward(self, x: Tensor) -> Tensor:
            return self.norm(self.conv(self.sign(self.conv(self.sign(x)))))

    network, x = settled(Twice()), torch.randn(2, 4, 3, 3)
    path = folded(network, x, tmp_path)
    np.testing.assert_allclose(answers(path, x), network(x).detach().numpy(), rtol=1e-5, atol=1e-5)


def test_diverged_training_is_refused(tmp_path: Path) -> None:
    network, x = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2)).eval(), torch.zeros(1, 1, 2, 2)
    network[1].running_mean.fill_(float("nan"))
    with pytest.raises(UnsupportedError, match="1: holds NaN"):
        folded(network, x, tmp_path)
    network[1].running_mean.zero_()
    network[1].running_var.fill_(-1.0)
    with pytest.raises(UnsupportedError, match="1: the running variance"):
        folded(network, x, tmp_path)


def test_the_record_holds_logits_and_the_signs_of_every_binary_layer(tmp_path: Path) -> None:
    network = settled(build_model("digits_resnet"))
    inputs = np.random.default_rng(0).normal(size=(10, 1, 8, 8)).astype(np.float32)
    path = folded(network, inputs[:2], tmp_path)
    kept = record_of(path, inputs, batch_size=4)
    np.testing.assert_allclose(kept["logits"], answers(path, inputs), rtol=1e-5, atol=1e-6)
    layers = {name for name, module in network.named_modules() if isinstance(module, BinaryConv2d | BinaryLinear)}
    assert {name.removeprefix("signs/") for name in kept if name.startswith("signs/")} == layers
    first = unpack_signs(kept["signs/blocks.0.conv"], int(kept["shape/blocks.0.conv"][0]), axis=1)
    model = onnx.load(path)
    model.graph.output.insert(0, onnx.ValueInfoProto(name="stem.0.out"))
    threshold = network.get_submodule("blocks.0.sign").threshold.detach().numpy().reshape(-1, 1, 1)
    assert np.array_equal(first, sign(run(model, inputs) - threshold))


def test_the_signs_of_a_sample_are_those_of_all(tmp_path: Path) -> None:
    inputs = np.random.default_rng(0).normal(size=(10, 1, 8, 8)).astype(np.float32)
    path = folded(settled(build_model("digits_resnet")), inputs[:2], tmp_path)
    chosen = np.array([0, 3, 4, 9])  # no image of the batch 6 to 8 with its size 3
    whole, part = record_of(path, inputs, batch_size=3), record_of(path, inputs, signs_of=chosen, batch_size=3)
    assert set(whole) == set(part)
    for name, values in whole.items():
        expected = values[chosen] if name.startswith("signs/") else values
        np.testing.assert_array_equal(part[name], expected)


def test_several_inputs_and_outputs_are_recorded_by_name(tmp_path: Path) -> None:
    class Heads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.sign, self.dense = RSign(4), BinaryLinear(4, 3)

        def forward(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
            return {"sum": x + y, "dense": self.dense(self.sign(x))}

    x, y = (np.random.default_rng(seed).normal(size=(5, 4)).astype(np.float32) for seed in (0, 1))
    path = folded(Heads().eval(), (x, y), tmp_path)
    kept = record_of(path, {"x": x, "y": y}, batch_size=2)
    assert set(kept) == {"outputs/sum", "outputs/dense", "signs/dense", "shape/dense"}
    np.testing.assert_array_equal(kept["outputs/sum"], x + y)
    np.testing.assert_array_equal(unpack_signs(kept["signs/dense"], 4, axis=1), sign(x))


def test_a_file_that_names_no_layers_is_no_reference(tmp_path: Path) -> None:
    path = export_onnx(build_model("digits_resnet"), torch.zeros(2, 1, 8, 8), tmp_path / "packed.onnx")
    with pytest.raises(ModelError, match=r"packed\.onnx is no folded network of ours: export it with plain=True"):
        record_of(path, np.zeros((1, 1, 8, 8), np.float32))


def test_names_shapes_and_symbolic_sizes(tmp_path: Path) -> None:
    network = settled(build_model("digits_resnet"))
    path = export_onnx(network, torch.zeros(2, 1, 8, 8), tmp_path / "m.onnx", metadata={"labels": ["a", "b"]})
    model = onnx.load(path)
    assert {"blocks.0.conv", "blocks.2.shortcut.1", "head", "hidden.dense"} < {node.name for node in model.graph.node}
    assert "blocks.0.conv.weight" in {tensor.name for tensor in model.graph.initializer}
    assert {p.key: p.value for p in model.metadata_props}["latentbit.labels"] == '["a", "b"]'
    assert {f.name for f in model.functions} == {"BinaryConv2d", "BinaryGemm", "Binarize"}
    described = {value.name for value in model.graph.value_info} | {"logits"}
    assert {output for node in model.graph.node for output in node.output} <= described


def test_image_size_may_be_symbolic(tmp_path: Path) -> None:
    network = settled(build_model("digits_resnet"))
    path = export_onnx(network, torch.zeros(2, 1, 8, 8), tmp_path / "m.onnx", dynamic_spatial=True)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].shape == ["N", 1, "H", "W"]
    x = torch.randn(1, 1, 12, 20)
    with torch.no_grad():
        expected = network(x).numpy()
    np.testing.assert_allclose(session.run(None, {"input": x.numpy()})[0], expected, rtol=1e-4, atol=1e-5)


def test_dense_networks_export(tmp_path: Path) -> None:
    network = settled(nn.Sequential(nn.Flatten(), RSign(12), BinaryLinear(12, 5), nn.BatchNorm1d(5), nn.Linear(5, 2)))
    x = torch.randn(4, 3, 2, 2)
    path = export_onnx(network, x, tmp_path / "m.onnx")
    (result,) = onnxruntime.InferenceSession(path).run(None, {"input": x.numpy()})
    np.testing.assert_allclose(result, network(x).detach().numpy(), rtol=1e-5, atol=1e-6)
