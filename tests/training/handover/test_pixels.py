"""Pixels as input, the exact stem, int8 storage and ranked classes: options of the export that change the file."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx.reference import ReferenceEvaluator
from torch import nn

from latentbit.export import export_onnx
from latentbit.export.folding import round_stem, round_to_int8
from latentbit.runtime import InferenceSession
from latentbit.runtime.errors import UnsupportedError
from latentbit.training.handover.pixels import Pixels
from latentbit.training.layers.binary import BinaryConv2d, RPReLU, RSign

from ...support.deployed import answers, folded

PIXELS = Pixels((0.49, 0.48, 0.45), (0.25, 0.24, 0.26))


def network(seed: int = 0) -> nn.Module:
    """A residual-free network whose every layer after an exact stem is exact, up to the pooled head."""
    torch.manual_seed(seed)
    net = nn.Sequential(
        nn.Conv2d(3, 16, 5, stride=2, padding=2),
        nn.BatchNorm2d(16),
        nn.MaxPool2d(3, 2, 1),
        RSign(16),
        BinaryConv2d(16, 24, 3, padding=1),
        nn.BatchNorm2d(24),
        RPReLU(24),
        RSign(24),
        BinaryConv2d(24, 8, 3, padding=1, pad_value=1),
        nn.BatchNorm2d(8),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 5),
    )
    for module in net:
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.1, 1.0)
    return net.eval()


def images(count: int, size: int = 20) -> np.ndarray[Any, Any]:
    return np.random.default_rng(3).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def sessions(path: Path) -> dict[str, onnxruntime.InferenceSession]:
    plain, optimised = onnxruntime.SessionOptions(), onnxruntime.SessionOptions()
    plain.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    optimised.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    return {
        name: onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        for name, options in (("plain", plain), ("optimised", optimised))
    }


def test_normalisation_inside_the_graph_equals_normalised_input(tmp_path: Path) -> None:
    net, x = network(), images(4)
    path = export_onnx(net, torch.from_numpy(x[:1]), tmp_path / "m.onnx", pixels=PIXELS)
    mean, std = (np.float32(v).reshape(-1, 1, 1) for v in (PIXELS.mean, PIXELS.std))
    normalised = (x.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255) - mean) / std
    expected = answers(folded(net, normalised[:1], tmp_path), normalised)
    session = sessions(path)["optimised"]
    assert session.get_inputs()[0].type == "tensor(uint8)"
    assert session.get_inputs()[0].shape == ["N", 20, 20, 3]
    np.testing.assert_allclose(session.run(None, {"input": x})[0], expected, rtol=1e-4, atol=1e-5)


def test_an_exact_model_gives_the_same_bits_everywhere(tmp_path: Path) -> None:
    """Everything in front of the float head: packed and plain, in every executor, optimised or not."""
    net, x = network()[:10], images(6)
    options: dict[str, Any] = {"pixels": PIXELS, "exact_stem": True}
    path = export_onnx(net, x[:1], tmp_path / "m.onnx", **options)
    expected = answers(folded(net, x[:1], tmp_path, **options), x)
    assert len(np.unique(expected)) > 100
    for session in (*sessions(path).values(), InferenceSession(path)):
        assert np.array_equal(session.run(None, {"input": x})[0], expected)
    assert np.array_equal(ReferenceEvaluator(onnx.load(path)).run(None, {"input": x})[0], expected)


def test_the_exact_stem_is_near_the_float_stem(tmp_path: Path) -> None:
    net, x = network()[:2], images(4)
    exact = answers(folded(net, x, tmp_path, pixels=PIXELS, exact_stem=True), x)
    real = answers(folded(net, x, tmp_path, pixels=PIXELS), x)
    # 75 weights, each off by at most 1/254 of its channel's largest, over random pixels: a few hundredths.
    assert 0 < np.abs(exact - real).max() < 0.05 * real.std()


@settings(max_examples=40, deadline=None)
@given(
    channels=st.integers(1, 4),
    outputs=st.integers(1, 5),
    kernel=st.sampled_from([1, 3, 7]),
    stride=st.integers(1, 3),
    seed=st.integers(0, 2**16),
)
def test_stem_sums_are_integers(channels: int, outputs: int, kernel: int, stride: int, seed: int) -> None:
    torch.manual_seed(seed)
    conv = nn.Conv2d(channels, outputs, kernel, stride=stride, padding=kernel // 2)
    pixels = Pixels(tuple(np.linspace(0.1, 0.9, channels)), tuple([0.2] * channels), 255.0)
    stem = round_stem(conv.weight.detach().numpy(), None, pixels, 1, "stem")
    x = np.random.default_rng(seed).integers(0, 256, (2, channels, 9, 8))
    centred, weight = (torch.from_numpy(values).double() for values in (x - stem.zero_point, stem.weight))
    acc = nn.functional.conv2d(centred, weight, stride=stride, padding=kernel // 2)
    assert torch.equal(acc, acc.round())
    assert acc.abs().max() < 2**24
    assert np.abs(stem.weight).max() == 127


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (nn.Sequential(nn.ReLU(), nn.Conv2d(3, 2, 1)), "begins with one convolution"),
        (nn.Sequential(nn.Conv2d(3, 2, 15)), "0: 675 weights a channel are too many"),
        (nn.Sequential(nn.Conv2d(3, 2, 3, padding=1, padding_mode="circular")), "begins with one convolution"),
        (nn.Sequential(nn.Conv2d(4, 2, 3)), "all 3 image channels"),
    ],
)
def test_stems_that_cannot_be_exact_are_refused(net: nn.Module, message: str, tmp_path: Path) -> None:
    channels = 4 if "all 3" in message else 3
    with pytest.raises(UnsupportedError, match=message):
        export_onnx(net, np.zeros((1, 20, 20, channels), np.uint8), tmp_path / "m.onnx", pixels=PIXELS, exact_stem=True)


def test_an_exact_stem_needs_pixels(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="pass pixels="):
        export_onnx(network(), np.zeros((1, 3, 20, 20), np.float32), tmp_path / "m.onnx", exact_stem=True)


def test_int8_weights_travel_in_a_quarter_of_the_bytes(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 64, 7), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 500))
    x = torch.randn(2, 3, 12, 12)
    small = export_onnx(net, x, tmp_path / "small.onnx", int8_weights=True)
    whole = export_onnx(net, x, tmp_path / "whole.onnx")
    assert small.stat().st_size < 0.3 * whole.stat().st_size
    result, expected = answers(small, x), net(x).detach().numpy()
    np.testing.assert_allclose(result, answers(folded(net, x, tmp_path, int8_weights=True), x), rtol=1e-4, atol=1e-5)
    assert 0 < np.abs(result - expected).max() / np.abs(expected).max() < 0.02


def test_int8_rounding_is_within_half_a_step(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(40, 30), nn.ReLU(), nn.Linear(30, 2))
    path = export_onnx(net, torch.randn(4, 40), tmp_path / "m.onnx", int8_weights=True)
    stored = {t.name: onnx.numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer}
    weight = net[0].weight.detach().numpy()
    quantised, scale = round_to_int8(weight)
    assert np.array_equal(stored["0.weight"], quantised)
    assert np.array_equal(stored["0.weight_scale"].reshape(-1), scale)
    assert np.all(np.abs(quantised * scale[:, None] - weight) <= scale[:, None] * 0.5001)
    assert stored["2.weight"].dtype == np.float32  # too small to gain


def test_labels_and_scores(tmp_path: Path) -> None:
    net, x = network(), images(5)
    names = ["ant", "bee", "cat", "dog", "élan"]
    path = export_onnx(net, torch.from_numpy(x), tmp_path / "m.onnx", pixels=PIXELS, top_k=3, labels=names)
    logits, labels, scores = sessions(path)["optimised"].run(None, {"input": x})
    order = np.argsort(-logits, axis=1, kind="stable")[:, :3]
    assert labels.tolist() == [[names[i] for i in row] for row in order]
    probability = torch.softmax(torch.from_numpy(logits), 1).numpy()
    np.testing.assert_allclose(scores, np.take_along_axis(probability, order, 1), rtol=1e-5)
    numbers = export_onnx(net, torch.from_numpy(x), tmp_path / "n.onnx", pixels=PIXELS, top_k=2)
    assert np.array_equal(sessions(numbers)["optimised"].run(["labels"], {"input": x})[0], order[:, :2])
