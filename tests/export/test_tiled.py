"""Tiles: equal to the whole image bit for bit where all is integers, any tile, any size; what is refused."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from latentbit.export import export_onnx
from latentbit.runtime import InferenceSession, InputError, run_tiled
from latentbit.training import BinaryConv2d, RSign


def exported(network: nn.Module, example: torch.Tensor, folder: Path, *, free: bool = True) -> InferenceSession:
    export_onnx(network.eval(), example, folder / "model.onnx", dynamic_spatial=free)
    return InferenceSession(folder / "model.onnx")


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> InferenceSession:
    """Signs of the input, three binary convolutions with signs between them, twice the size: no float sum anywhere."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for before, after in ((4, 32), (32, 32), (32, 8)):
        layers += [RSign(before), BinaryConv2d(before, after, 3, padding=1)]
    return exported(
        nn.Sequential(*layers, nn.PixelShuffle(2)), torch.randn(2, 4, 9, 9), tmp_path_factory.mktemp("tiled")
    )


@pytest.mark.parametrize("size", [(40, 37), (8, 50), (3, 3), (1, 70)])
@pytest.mark.parametrize("tile", [5, 16, 64])
def test_tiles_equal_the_whole_bit_for_bit(session: InferenceSession, size: tuple[int, int], tile: int) -> None:
    images = np.random.default_rng(0).standard_normal((2, 4, *size)).astype(np.float32)
    (whole,) = session.run(None, {session.get_inputs()[0].name: images})
    for overlap in (3, 7):
        found = run_tiled(session, images, tile=tile, overlap=overlap)
        assert (found.dtype, found.shape) == (whole.dtype, whole.shape)
        assert np.array_equal(found, whole)


def test_a_smaller_overlap_than_the_network_sees_is_not_equal(session: InferenceSession) -> None:
    images = np.random.default_rng(0).standard_normal((1, 4, 40, 40)).astype(np.float32)
    (whole,) = session.run(None, {session.get_inputs()[0].name: images})
    assert not np.array_equal(run_tiled(session, images, tile=8, overlap=2), whole)


def test_all_windows_of_a_call_have_one_size(session: InferenceSession, monkeypatch: pytest.MonkeyPatch) -> None:
    seen, run = set(), session.run

    def note(names: None, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:  # type: ignore[type-arg]
        seen.add(next(iter(feeds.values())).shape)
        return run(names, feeds)

    monkeypatch.setattr(session, "run", note)
    run_tiled(session, np.zeros((1, 4, 100, 90), np.float32), tile=16, overlap=3)
    assert seen == {(1, 4, 22, 22)}, "memory is that of one window"


def test_what_cannot_be_tiled_is_refused(session: InferenceSession, tmp_path: Path) -> None:
    images = np.zeros((1, 4, 20, 20), np.float32)
    for tile, overlap in ((0, 3), (4, -1)):
        with pytest.raises(InputError, match=f"tile is {tile} and overlap {overlap}"):
            run_tiled(session, images, tile=tile, overlap=overlap)
    for wrong in (images[0], images[:, :, :0]):
        with pytest.raises(InputError, match=r"takes images \[N, C, H, W\]"):
            run_tiled(session, wrong, tile=8, overlap=3)
    head = nn.Sequential(RSign(4), BinaryConv2d(4, 8, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.raises(InputError, match="an answer whose height and width are the same multiple"):
        run_tiled(exported(head, torch.randn(2, 4, 9, 9), tmp_path), images, tile=8, overlap=3)
    half = nn.Sequential(RSign(4), BinaryConv2d(4, 8, 3, padding=1, stride=2))
    with pytest.raises(InputError, match="an answer whose height and width are the same multiple"):
        run_tiled(exported(half, torch.randn(2, 4, 9, 9), tmp_path), images, tile=8, overlap=3)
