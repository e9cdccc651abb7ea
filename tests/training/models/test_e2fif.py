"""The super-resolution network: its mathematics, its start as bicubic interpolation, its file on images of any size."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from latentbit.export import export_onnx
from latentbit.runtime import InferenceSession, run_tiled
from latentbit.runtime.fidelity import psnr
from latentbit.training.data.resizing import resize
from latentbit.training.models.e2fif import E2FIF, e2fif_x2, e2fif_x4, float_x2, float_x4


def settled(network: E2FIF) -> E2FIF:
    """Return the network in eval mode, with weights and statistics as of a trained one."""
    torch.manual_seed(1)
    nn.init.normal_(network.tail.weight, std=0.02)
    for norm in network.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.normal_(norm.running_mean, std=0.5)
            nn.init.uniform_(norm.running_var, 0.5, 2.0)
            nn.init.normal_(norm.bias, std=0.1)
    return network.eval()


@pytest.mark.parametrize(("build", "scale"), [(e2fif_x2, 2), (e2fif_x4, 4), (float_x2, 2), (float_x4, 4)])
def test_a_fresh_network_interpolates(build: Callable[..., E2FIF], scale: int) -> None:
    image = np.random.default_rng(0).random((14, 18))
    with torch.no_grad():
        found = build(width=8).eval()(torch.from_numpy(image).float()[None, None])[0, 0].numpy()
    wanted = resize(image, (14 * scale, 18 * scale))
    inner = slice(3 * scale, -3 * scale)
    assert found.shape == wanted.shape
    assert np.abs(found - wanted)[inner, inner].max() < 1e-5


def test_the_body_is_that_of_the_paper() -> None:
    network = settled(e2fif_x2(width=8, blocks=2))
    x = torch.rand(2, 1, 9, 11)

    def layer(part: Any, y: Tensor) -> Tensor:
        sign, conv, norm = part
        signs = torch.where(y - sign.threshold.view(1, -1, 1, 1) >= 0, 1.0, -1.0)
        weight = conv.weight.sign() * conv.weight.abs().mean((1, 2, 3), keepdim=True)
        result: Tensor = norm(F.conv2d(signs, weight, padding=1))
        return result

    with torch.no_grad():
        y = start = F.conv2d(x - 0.5, network.head.weight, network.head.bias, padding=1)
        for block in network.body:
            y = F.leaky_relu(layer(block.first, y) + y, 0.1)
            y = layer(block.second, y) + y
        small = network.tail(y + start) + network.skip(x)
        assert torch.allclose(network(x), F.pixel_shuffle(small, 2), atol=1e-5)


def test_the_float_twin_has_no_binary_layer_and_as_many_weights() -> None:
    binary, twin = e2fif_x2(width=8), float_x2(width=8)
    weights = [sum(p.numel() for n, p in net.named_parameters() if "threshold" not in n) for net in (binary, twin)]
    assert weights[0] == weights[1]
    assert not [module for module in twin.modules() if "Binary" in type(module).__name__]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[E2FIF, InferenceSession]:
    network = settled(e2fif_x2(width=16, blocks=2))
    path = tmp_path_factory.mktemp("sr") / "model.onnx"
    export_onnx(network, torch.rand(2, 1, 12, 12), path, dynamic_spatial=True)
    return network, InferenceSession(path)


@pytest.mark.parametrize("size", [(12, 12), (7, 31), (40, 23), (1, 1)])
def test_the_file_runs_on_images_of_any_size(exported: tuple[E2FIF, InferenceSession], size: tuple[int, int]) -> None:
    network, session = exported
    x = torch.rand(2, 1, *size)
    (found,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    with torch.no_grad():
        wanted = network(x).numpy()
    assert found.shape == (2, 1, 2 * size[0], 2 * size[1])
    assert psnr(found, wanted, peak=1.0) > 60, "a sign may flip, all else is equal but for rounding"
    assert sum(step.kind == "binary" for step in session.get_steps()) == 4


def test_tiles_give_what_the_whole_image_gives(exported: tuple[E2FIF, InferenceSession], tmp_path: Path) -> None:
    network, session = exported
    reach = 2 + 2 * len(network.body)  # head, body and tail: each 3×3 convolution sees one pixel farther
    image = np.random.default_rng(3).random((1, 1, 61, 75)).astype(np.float32)
    (whole,) = session.run(None, {session.get_inputs()[0].name: image})
    for tile in (16, 25, 100):
        assert psnr(run_tiled(session, image, tile=tile, overlap=reach), whole, peak=1.0) > 90
    short = run_tiled(session, image, tile=16, overlap=1)
    assert psnr(short, whole, peak=1.0) < 90, "with too little overlap the seams show"
