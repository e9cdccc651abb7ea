"""The networks: shapes, numbers of binary layers and parameters, and that each can take a branch."""

from typing import Any

import pytest
import torch
from torch import nn

from latentbit.runtime.errors import ConfigError
from latentbit.training.latent.objectives import build_objective
from latentbit.training.layers.binary import BinaryConv2d, BinaryLinear
from latentbit.training.loop.run import choose_model_options
from latentbit.training.models.blocks import BinaryBlock, build_stem, downsample
from latentbit.training.models.catalogue import MODELS, build_model, model_options
from latentbit.training.settings import Settings

# Name, options, shape of an image, binary 3×3 convolutions, binary dense layers.
NETWORKS: list[tuple[str, dict[str, Any], tuple[int, int, int], int, int]] = [
    ("digits_resnet", {"width": 4}, (1, 8, 8), 4, 1),
    ("float_digits_resnet", {"width": 4}, (1, 8, 8), 0, 0),
    ("float_resnet8", {"width": 4}, (3, 28, 28), 0, 0),
    ("float_resnet18", {"width": 4, "num_classes": 10}, (3, 64, 64), 0, 0),
    ("float_resnet20", {"width": 4}, (3, 28, 28), 0, 0),
    ("float_resnet34", {"width": 2, "num_classes": 10, "stem": "cheap"}, (3, 64, 64), 0, 0),
    ("mlp", {"width": 16, "image_size": 12}, (1, 12, 12), 0, 2),
    ("resnet8", {"width": 4}, (3, 28, 28), 6, 0),
    ("resnet18", {"width": 4, "num_classes": 10}, (3, 64, 64), 16, 0),
    ("resnet20", {"width": 4}, (3, 28, 28), 18, 0),
    ("resnet34", {"width": 2, "num_classes": 10, "stem": "cheap"}, (3, 64, 64), 32, 0),
    ("vgg_small", {"width": 4, "image_size": 16}, (3, 16, 16), 5, 1),
]


def test_every_network_is_tested() -> None:
    assert sorted(name for name, *_ in NETWORKS) == sorted(MODELS)


@pytest.mark.parametrize(("name", "options", "shape", "convolutions", "dense"), NETWORKS)
def test_network_is_as_binary_as_it_says(
    name: str, options: dict[str, Any], shape: tuple[int, int, int], convolutions: int, dense: int
) -> None:
    torch.manual_seed(0)
    network = build_model(name, **options).eval()
    images = torch.randn(2, *shape)
    logits = network(images)
    assert logits.shape == (2, 10)
    wide = [m for m in network.modules() if isinstance(m, BinaryConv2d) and m.kernel_size == (3, 3)]
    assert len(wide) == convolutions
    assert sum(isinstance(m, BinaryLinear) for m in network.modules()) == dense


@pytest.mark.parametrize("variant", ["L1", "L2", "L3", "L4", "L5", "L6"])
@pytest.mark.parametrize("name", ["resnet8", "vgg_small"])
def test_every_variant_trains_networks_with_and_without_shortcuts(name: str, variant: str) -> None:
    torch.manual_seed(0)
    options = {"width": 4} | ({"image_size": 16} if name == "vgg_small" else {})
    objective = build_objective(build_model(name, **options), Settings(latent=variant)).train()
    loss, _ = objective(torch.randn(4, 3, 16, 16), torch.tensor([0, 1, 2, 3]))
    loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in objective.network.parameters())


def test_resnet18_has_the_published_number_of_parameters() -> None:
    network = build_model("resnet18")
    binary = sum(m.weight.numel() for m in network.modules() if isinstance(m, BinaryConv2d))
    assert binary == 10_985_472  # all 3×3 weights of ResNet-18 (11.69 million in all) but the stem
    assert sum(p.numel() for p in network.parameters()) == pytest.approx(11.7e6, rel=0.01)


@pytest.mark.parametrize(
    ("kind", "side", "size"), [("cifar", 32, 32), ("strided", 32, 16), ("imagenet", 64, 16), ("cheap", 64, 16)]
)
def test_stems_scale_the_image(kind: str, side: int, size: int) -> None:
    assert build_stem(kind, 3, 8)(torch.randn(1, 3, side, side)).shape == (1, 8, size, size)


@pytest.mark.parametrize("kind", ["float", "binary"])
@pytest.mark.parametrize("side", [6, 7])
def test_downsamples_fit_the_strided_convolution_at_odd_sizes(kind: str, side: int) -> None:
    block = BinaryBlock(4, 8, stride=2, downsample_kind=kind)
    assert block(torch.randn(2, 4, side, side)).shape == (2, 8, (side + 1) // 2, (side + 1) // 2)
    assert sum(isinstance(m, BinaryConv2d) for m in block.modules()) == (2 if kind == "binary" else 1)


def test_pad_value_reaches_every_binary_convolution() -> None:
    network = build_model("resnet20", pad_value=-1)
    padded = [m for m in network.modules() if isinstance(m, BinaryConv2d)]
    assert {m.pad_value for m in padded} == {-1}


def test_wrong_names_are_refused() -> None:
    with pytest.raises(ConfigError, match="unknown stem 'large'"):
        build_stem("large", 3, 4)
    with pytest.raises(ConfigError, match="unknown downsample 'int'"):
        downsample(4, 8, 2, "int")
    with pytest.raises(ConfigError, match="model 'mlp' has no option 'stem'"):
        build_model("mlp", stem="cifar")
    assert model_options("mlp")["width"] == 512


def test_options_come_from_data_and_settings() -> None:
    from latentbit.training.data.catalogue import load

    digits = load("digits")
    options = choose_model_options(Settings(model="mlp", width=8), digits)
    assert options == {"in_channels": 1, "num_classes": 10, "image_size": 8, "width": 8}
    network = build_model("mlp", **options)
    assert isinstance(network.head, nn.Linear)
