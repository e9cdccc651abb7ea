"""The hand-over exports the network that was trained, with the options that were given, or says why it does not."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from latentbit.export import export_onnx
from latentbit.runtime.errors import ConfigError, InputError, LatentbitError, UnsupportedError
from latentbit.training.handover.carried import signs_and_scale
from latentbit.training.handover.pixels import Pixels
from latentbit.training.layers.binary import BinaryConv2d, BinaryLinear, RSign
from latentbit.training.layers.regularisers import REGULARISERS
from latentbit.training.layers.signs import weight_scale
from latentbit.training.layers.stages import bake, set_real_weights
from latentbit.training.layers.weight_only import BinaryWeightConv2d, BinaryWeightLinear
from latentbit.training.layers.weights import choose_weights

from ...support.deployed import answers, folded


def network(kind: str = "binary", seed: int = 0) -> nn.Sequential:
    """A small network of two image channels, with W off centre, so that a regulariser changes many of its signs."""
    torch.manual_seed(seed)
    conv, linear = {
        "binary": (BinaryConv2d, BinaryLinear),
        "weight-only": (BinaryWeightConv2d, BinaryWeightLinear),
    }[kind]
    net = nn.Sequential(
        nn.Conv2d(2, 6, 1),
        RSign(6) if kind == "binary" else nn.ReLU(),
        conv(6, 5, 3, padding=1),
        nn.BatchNorm2d(5),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        RSign(5) if kind == "binary" else nn.ReLU(),
        linear(5, 4),
    )
    for layer in (net[2], net[7]):
        with torch.no_grad():
            layer.weight.add_(layer.weight.std())
    nn.init.normal_(net[3].bias)  # no sum is exactly at the threshold of a sign, where rounding would decide
    return net.eval()


@settings(max_examples=60, deadline=None)
@given(
    regulariser=st.sampled_from(sorted(REGULARISERS)),
    kind=st.sampled_from(["binary", "weight-only"]),
    progress=st.floats(0, 1),
    seed=st.integers(0, 2**16),
)
def test_the_packed_weights_are_those_of_the_network(regulariser: str, kind: str, progress: float, seed: int) -> None:
    """A regulariser changes signs and scales, and what is deployed has the changed ones."""
    net = network(kind, seed)
    choose_weights(net, estimator="identity_clip", regulariser=regulariser)
    for path in ("2", "7"):
        layer = net.get_submodule(path)
        layer.set_progress(progress)
        signs, alpha = signs_and_scale(layer, path)
        weight = layer.latent_weight()
        assert torch.equal(signs, torch.where(weight >= 0, 1, -1))
        assert torch.equal(alpha, weight_scale(weight))


@pytest.mark.parametrize("kind", ["binary", "weight-only"])
def test_a_regulariser_is_folded_as_if_it_were_baked(kind: str, tmp_path: Path) -> None:
    net = network(kind)
    choose_weights(net, estimator="identity_clip", regulariser="recu")
    x = torch.randn(3, 2, 4, 5)
    path = folded(net, x, tmp_path)
    first = path.read_bytes()
    np.testing.assert_allclose(answers(path, x), net(x).detach().numpy(), rtol=1e-4, atol=1e-4)
    bake(net)
    assert folded(net, x, tmp_path).read_bytes() == first


def test_the_file_has_the_signs_of_the_network(tmp_path: Path) -> None:
    net = network()
    raw = net[2].weight.detach() >= 0
    choose_weights(net, estimator="identity_clip", regulariser="recu")
    signs = net[2].latent_weight() >= 0
    assert (raw != signs).float().mean() > 0.1, "the regulariser must matter, or this test could not fail"
    x = torch.randn(4, 2, 3, 3)
    path = export_onnx(net, x, tmp_path / "m.onnx")
    (found,) = onnxruntime.InferenceSession(path).run(None, {"input": x.numpy()})
    np.testing.assert_allclose(found, net(x).detach().numpy(), rtol=1e-4, atol=1e-4)


def test_real_weights_are_refused_by_name(tmp_path: Path) -> None:
    net = network()
    set_real_weights(net, True)
    with pytest.raises(UnsupportedError, match=r"2: its weights are not α·sign\(W\) \(bits=0\).*bake"):
        export_onnx(net, torch.zeros(1, 2, 3, 3), tmp_path / "m.onnx")
    bake(net)
    export_onnx(net, torch.zeros(1, 2, 3, 3), tmp_path / "m.onnx")
    set_real_weights(net, True, activations=True)
    with pytest.raises(UnsupportedError, match=r"1: it computes other values than signs \(bits=0\); bake"):
        export_onnx(net, torch.zeros(1, 2, 3, 3), tmp_path / "m.onnx")
    bake(net)
    export_onnx(net, torch.zeros(1, 2, 3, 3), tmp_path / "m.onnx")


def test_diverged_weights_are_refused(tmp_path: Path) -> None:
    net = network()
    net[7].weight.data[0, 0] = float("nan")
    with pytest.raises(UnsupportedError, match="7: W holds NaN or infinity"):
        export_onnx(net, torch.zeros(1, 2, 3, 3), tmp_path / "m.onnx")


@pytest.mark.parametrize(
    ("pixels", "words"),
    [
        ("nonsense", "pixels is a str; give Pixels"),
        (((0.5,), (0.5,), 255.0), "pixels is a tuple"),
        (Pixels(("a",), (0.5,)), "something else than numbers"),  # type: ignore[arg-type]
        (Pixels((0.5, 0.5), (0.5,)), "a mean and a std for each channel"),
        (Pixels((), ()), "a mean and a std for each channel"),
        (Pixels((0.5,), (0.0,)), "a std and a range above 0"),
        (Pixels((float("nan"),), (0.5,)), "finite numbers"),
        (Pixels((0.5,), (0.5,), 0.0), "a range above 0"),
    ],
)
def test_pixels_that_normalise_nothing(pixels: Any, words: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=words):
        export_onnx(network(), torch.zeros(1, 3, 3, 2), tmp_path / "m.onnx", pixels=pixels)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"labels": ["a"]}, "give top_k too"),
        ({"top_k": 5}, "top_k is 5, the network has 4 classes"),
        ({"top_k": -1}, "top_k is -1"),
        ({"top_k": 2, "labels": ["a", "b"]}, "labels names 2 classes, the network has 4"),
        ({"top_k": 2, "labels": []}, "labels names 0 classes"),
    ],
)
def test_classes_that_do_not_fit(options: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=words):
        export_onnx(network(), torch.zeros(1, 2, 3, 3), tmp_path / "m.onnx", **options)
    assert not list(tmp_path.iterdir())


def test_top_k_of_an_image_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match=r"top_k needs an output \[N, classes\]"):
        export_onnx(network()[:3], torch.zeros(1, 2, 3, 3), tmp_path / "m.onnx", top_k=1)


@pytest.mark.parametrize(
    "example",
    [
        None,
        3,
        "image",
        [],
        [[0.0, 1.0]],
        np.float32(1.0),
        torch.zeros(()),
        torch.zeros(0, 2, 3, 3),
        np.array(["a"]),
        [torch.zeros(1, 2, 3, 3)] * 2,
        torch.zeros(1, 3, 3, 3),
    ],
    ids=str,
)
def test_examples_that_are_none_are_one_line(example: Any, tmp_path: Path) -> None:
    with pytest.raises(LatentbitError) as caught:
        export_onnx(network(), example, tmp_path / "m.onnx")
    assert isinstance(caught.value, InputError | UnsupportedError)
    assert not list(tmp_path.iterdir())


def test_two_inputs_take_two_examples(tmp_path: Path) -> None:
    class Sum(nn.Module):
        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return torch.relu(x + y)

    with pytest.raises(InputError, match="holds 1 arrays, the network takes 2: x, y"):
        export_onnx(Sum(), torch.zeros(1, 2), tmp_path / "m.onnx")
    path = export_onnx(Sum(), (torch.zeros(1, 2), np.zeros((1, 2), np.float32)), tmp_path / "m.onnx")
    assert [entry.name for entry in onnx.load(path).graph.input] == ["x", "y"]
