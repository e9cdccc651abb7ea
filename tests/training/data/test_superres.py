"""Pairs for super-resolution: MATLAB's resizing and luminance, patches that lie on each other, figures as published."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from latentbit.runtime.errors import ConfigError, DataError
from latentbit.runtime.fidelity import x2, x4
from latentbit.training.data.catalogue import open_data
from latentbit.training.data.own import OwnData
from latentbit.training.data.resizing import luminance, resize
from latentbit.training.data.superres import Centres, Patches, benchmark_images, read_pairs
from latentbit.training.settings import Settings

REAL = Path(os.environ.get("LATENTBIT_DATA", "")) / "sr"
RANDOM = np.random.default_rng(0)
needs_real = pytest.mark.skipif(
    not os.environ.get("LATENTBIT_DATA") or not REAL.is_dir(), reason="LATENTBIT_DATA has no sr"
)


def write_images(root: Path) -> Path:
    """Write a data folder of noise, with portraits, landscapes, colours and grey."""
    for part, sizes in (("BSDS500_train200", [(80, 64), (65, 97)]), ("BSD100/HR", [(161, 150), (150, 171)])):
        folder = root / "sr" / part
        folder.mkdir(parents=True)
        for number, (height, width) in enumerate(sizes):
            shape = (height, width, 3) if number else (height, width)
            Image.fromarray(RANDOM.integers(0, 256, shape, np.uint8)).save(folder / f"{number}.png")
    return root


def test_resizing_by_hand() -> None:
    impulse = np.zeros((1, 16))
    impulse[0, 8] = 1
    # MATLAB's weights of a pixel when the side is halved: Keys' kernel at distances of 1/4, 3/4, … of two pixels.
    taps = np.array([-3, -9, 29, 111, 111, 29, -9, -3]) / 256
    assert resize(impulse, (1, 8))[0] == pytest.approx([0, 0, *taps[[7, 5, 3, 1]], 0, 0], abs=1e-12)
    assert resize(np.full((6, 8), 5.0), (12, 16)) == pytest.approx(5.0), "also at the edges"
    line = np.arange(16.0)[None]
    assert resize(line, (1, 32))[0, 8:24] == pytest.approx((np.arange(8, 24) + 0.5) / 2 - 0.5), "a ramp stays one"
    with pytest.raises(ConfigError, match="use a whole factor"):
        resize(line, (1, 7))


def test_luminance_by_hand() -> None:
    colours = np.array([[[0, 0, 0], [255, 255, 255], [255, 0, 0], [10, 200, 30]]], np.uint8)
    assert luminance(colours).tolist() == [[16, 235, 81, round(16 + (654.81 + 25710.6 + 748.98) / 255)]]
    grey = np.array([[3, 250]], np.uint8)
    assert luminance(grey) is grey


@needs_real
@pytest.mark.parametrize(("name", "published"), [("Set5", (33.66, 28.42)), ("Set14", (30.24, 26.00))])
def test_bicubic_has_the_published_psnr(name: str, published: tuple[float, float]) -> None:
    for scale, metric, wanted in ((2, x2, published[0]), (4, x4, published[1])):
        found = []
        for small, large in benchmark_images(None, name, scale).values():
            enlarged = resize(small, (large.shape[0], large.shape[1]))[None, None] / 255
            found.append(metric(enlarged, large[None, None] / 255)["psnr"])
        assert np.mean(found) == pytest.approx(wanted, abs=0.03)


def test_patches_of_a_pair_lie_on_each_other_in_every_turn() -> None:
    pairs = []
    for size in ((20, 26), (30, 17)):
        small = RANDOM.integers(0, 256, size, np.uint8)
        pairs.append((small, np.kron(small, np.ones((2, 2), np.uint8))))
    patches = Patches(pairs, 2, side=12, count=64)
    assert len(patches) == 64
    torch.manual_seed(0)
    found = patches.__getitems__(range(64))
    for near, far in found:
        assert (near.shape, far.shape, far.dtype) == ((1, 12, 12), (1, 24, 24), torch.float32)
        for row in (0, 1):
            for column in (0, 1):
                assert torch.equal(far[:, row::2, column::2], near)
    windows = {pairs[0][0][top : top + 12, left : left + 12].tobytes() for top in range(9) for left in range(15)}
    turned = 0
    for near, _ in found[::2]:
        pixels = torch.round(near[0] * 255).to(torch.uint8).numpy()
        symmetries = [np.rot90(side, turn) for side in (pixels, pixels[:, ::-1]) for turn in range(4)]
        assert any(np.ascontiguousarray(one).tobytes() in windows for one in symmetries)
        turned += pixels.tobytes() not in windows
    assert turned > 16, "seven of eight patches are turned or mirrored"
    torch.manual_seed(0)
    assert torch.equal(patches.__getitems__(range(64))[5][0], found[5][0]), "what is drawn follows from torch's seed"


def test_the_data_of_a_run(tmp_path: Path) -> None:
    root = write_images(tmp_path)
    name = "latentbit.training.data.superres:sr_x2"
    data = open_data(Settings(data=name, root=str(root), augment="none"))
    assert isinstance(data, OwnData)
    inputs, targets = data.read(data.test, [0, 1])
    assert (inputs.shape, targets.shape) == ((2, 1, 72, 72), (2, 1, 144, 144))
    small, large = read_pairs(root / "sr/BSD100/HR", 2)["1"]
    assert (small.shape, large.shape) == ((75, 85), (150, 170)), "cut to a multiple of the scale"
    assert torch.equal(torch.round(inputs[1, 0] * 255).to(torch.uint8), torch.from_numpy(small[1:73, 6:78].copy()))
    assert torch.equal(torch.round(targets[1, 0] * 255).to(torch.uint8), torch.from_numpy(large[2:146, 12:156].copy()))
    assert data.sha256 == open_data(Settings(data=name, root=str(root), augment="none")).sha256
    image = Image.open(root / "sr/BSDS500_train200/0.png")
    image.putpixel((5, 5), 255 - int(np.asarray(image)[5, 5]))
    image.save(root / "sr/BSDS500_train200/0.png")
    assert data.sha256 != open_data(Settings(data=name, root=str(root), augment="none")).sha256
    with pytest.raises(DataError, match="a side of 64 pixels, and 96 are cut out of it"):
        open_data(Settings(data=name.replace("x2", "x4"), root=str(root), augment="none"))


def test_what_cannot_be_cut_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no images: put them there, or set train\.root"):
        read_pairs(tmp_path, 2)
    small = np.zeros((20, 30), np.uint8)
    for kind in (Patches, Centres):
        with pytest.raises(DataError, match="a side of 40 pixels, and 48 are cut out of it"):
            kind([(small, np.kron(small, np.ones((2, 2), np.uint8)))], 2, side=24)
    (tmp_path / "odd.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"odd\.png is no readable image"):
        read_pairs(tmp_path, 2)
    Image.fromarray(np.zeros((3, 9), np.uint8)).save(tmp_path / "odd.png")
    with pytest.raises(DataError, match="has 9×3 pixels: too few for a scale of 4"):
        read_pairs(tmp_path, 4)
