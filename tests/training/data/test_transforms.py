"""Augmentation by a transform of the user's: what it gets, what it may give, that it follows from the seed."""

import importlib
import random
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from latentbit.runtime.errors import ConfigError
from latentbit.training import make_dataset, train
from latentbit.training.data.augment import find_augmentation
from latentbit.training.data.batches import ImageBatches
from latentbit.training.data.catalogue import load
from latentbit.training.data.draws import generator, seeded
from latentbit.training.loop import checkpoints
from latentbit.training.loop.run import check_names
from latentbit.training.settings import Settings

from ...docs import pages

CODE = """
import random
import numpy as np
import torch

SEEN = []

def kept(image):
    SEEN.append((image.dtype, tuple(image.shape), float(image.min()), float(image.max())))
    return image

def drawn(image):
    return (image * torch.rand(()) * random.random() * np.random.rand()).clamp(0, 1)

class Padded:
    def __init__(self, margin=2):
        self.margin = margin

    def __call__(self, image):
        return torch.nn.functional.pad(image, (self.margin,) * 4)

class Needs:
    def __init__(self, margin):
        pass

class Nothing:
    pass

padded = Padded()
number = 3

def pixels(image): return (image * 255).to(torch.uint8)
def array(image): return image.numpy()
def batch(image): return image[None]
def colour(image): return image.expand(3, -1, -1)
def small(image): return image[:, 1:]
def normalised(image): return (image - 0.5) / 0.25
def broken(image): return image + torch.full((), float("nan"))
def fails(image): raise ValueError("no luck")
def ragged(image): return Padded(int(torch.randint(0, 9, ())))(image)
"""


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("transforms")
    (folder / "shaken.py").write_text(CODE, encoding="utf-8")
    return str(folder)


def images(count: int = 5) -> torch.Tensor:
    return torch.randint(0, 17, (count, 1, 8, 8), dtype=torch.uint8, generator=generator(3))


def augmented(name: str, code: str, seed: int = 0) -> torch.Tensor:
    return find_augmentation(f"shaken:{name}", code=code, pixel_range=16.0)(images(), generator(seed), (8, 8))


def test_an_image_is_float_from_0_to_1_and_comes_back_in_the_range_of_the_data(code: str) -> None:
    found = augmented("kept", code)
    assert torch.equal(found, images().float())
    seen = sys.modules["shaken"].SEEN
    assert {(dtype, shape) for dtype, shape, _, _ in seen} == {(torch.float32, (1, 8, 8))}
    assert (min(low for *_, low, _ in seen), max(high for *_, high in seen)) == (0.0, 1.0)


def test_what_is_drawn_follows_from_the_seed_and_varies_by_image(code: str) -> None:
    states = torch.random.get_rng_state(), random.getstate(), np.random.get_state(legacy=False)
    one, same, other = augmented("drawn", code), augmented("drawn", code), augmented("drawn", code, seed=1)
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    shares = one.flatten(1).sum(1) / images().flatten(1).sum(1)
    assert len(set(shares.tolist())) == 5
    assert torch.equal(states[0], torch.random.get_rng_state())
    assert states[1] == random.getstate()
    assert str(states[2]) == str(np.random.get_state(legacy=False))


def test_each_source_of_random_numbers_is_seeded() -> None:
    def draw() -> tuple[float, float, float]:
        return torch.rand(()).item(), random.random(), float(np.random.rand())

    with seeded(2**62 + 1):
        first = draw()
    with seeded(2**62 + 1):
        again = draw()
    with seeded(2**62):
        other = draw()
    assert first == again
    assert not set(first) & set(other)


@pytest.mark.parametrize("name", ["padded", "Padded"])
def test_an_object_and_a_class_are_transforms_and_larger_images_are_cut(name: str, code: str) -> None:
    batches = ImageBatches(
        load("digits"), augment=f"shaken:{name}", code=code, size=64, seed=0, device=torch.device("cpu")
    )
    plain = ImageBatches(load("digits"), augment="none", size=64, seed=0, device=torch.device("cpu"))
    assert augmented(name, code).shape == (5, 1, 12, 12)
    assert torch.equal(batches.get(torch.arange(4), 0)[0], plain.get(torch.arange(4), 0)[0])


def test_images_need_not_be_square(code: str) -> None:
    wide = np.arange(6 * 8 * 16, dtype=np.uint8).reshape(6, 1, 8, 16)
    data = make_dataset("wide", (wide, np.arange(6)), (wide[:2], np.arange(2)), classes=tuple("012345"))
    for name in ("none", "shift1", "resized_crop", "shaken:padded"):
        batches = ImageBatches(data, augment=name, code=code, size=4, seed=0, device=torch.device("cpu"))
        assert batches.get(torch.arange(4), 0)[0].shape == (4, 1, 8, 16), name
    assert torch.equal(batches.get(torch.arange(6), 0)[0], batches.normalise(torch.from_numpy(wide)))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("pixels", r"gives uint8: end with v2.ToDtype\(torch.float32, scale=True\)"),
        ("array", "gives a ndarray for a tensor"),
        ("batch", r"gives \[1, 1, 8, 8\]: an image has three axes, \[1, height, width\]"),
        ("colour", r"gives \[3, 8, 8\]: an image has three axes, \[1, "),
        ("small", "gives images of 7×8, and the network reads 8×8"),
        ("normalised", "gives values from -2 to 2, and pixels lie between 0 and 1: leave out what normalises"),
        ("broken", "gives values from nan to nan"),
        ("fails", r"failed: ValueError: no luck \(shaken.py, line \d+\)"),
        ("ragged", r"gives images of several sizes, \d+×\d+ and \d+×\d+"),
    ],
)
def test_an_image_of_another_form_is_refused_before_training(name: str, words: str, code: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=rf"^train.augment = 'shaken:{name}' {words}"):
        augmented(name, code)
    if name != "ragged":  # two images may happen to be of one size
        with pytest.raises(ConfigError, match=words):
            train(out=tmp_path / "run", augment=f"shaken:{name}", code=code, epochs=1)
        assert not (tmp_path / "run").exists() or not list((tmp_path / "run").iterdir())


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("shaken:Needs", r"is a class that cannot be made without arguments .*: name a transform, in a file of yours"),
        ("shaken:Nothing", "makes a Nothing: name a transform"),
        ("shaken:number", "is a int: name a function"),
        ("shaken:padde", "has no padde; did you mean padded?"),
        ("shakened:f", "there is no module shakened"),
        ("mirror", "is unknown: choose one of .*, or package.module:name"),
    ],
)
def test_a_bad_name_is_refused_before_data_are_read(name: str, words: str, code: str) -> None:
    with pytest.raises(ConfigError, match=rf"^train.augment = '{name}'.*{words}"):
        check_names(Settings(augment=name, code=code, data="folder:nowhere"))


def test_a_run_repeats_resumes_and_knows_its_code(code: str, tmp_path: Path) -> None:
    options: dict[str, Any] = {
        "augment": "shaken:drawn", "code": code, "epochs": 2, "width": 4, "latent": "none", "batch_size": 256,
    }  # fmt: skip

    def stop(progress: Any) -> None:
        if progress.epoch == 1 and progress.metrics is None:
            raise KeyboardInterrupt

    def weights(name: str) -> dict[str, torch.Tensor]:
        return checkpoints.load_tensors(tmp_path / name / "network.pt")

    train(out=tmp_path / "whole", **options)
    with pytest.raises(KeyboardInterrupt):
        train(out=tmp_path / "broken", progress=stop, **options)
    kept = checkpoints.load_tensors(tmp_path / "broken" / "checkpoint.pt")
    assert (kept["epoch"], set(kept["sources"])) == (1, {"shaken"})
    train(out=tmp_path / "broken", **options)
    whole, broken = weights("whole"), weights("broken")
    assert all(torch.equal(whole[name], broken[name]) for name in whole)


def test_transforms_of_torchvision(tmp_path: Path) -> None:
    """The example of the docs, and a class of torchvision by its name."""
    try:
        importlib.import_module("torchvision.transforms.v2")
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"no torchvision that fits this torch: {error}")
    (block,) = (
        block for block in pages.blocks((pages.DOCS / "own_images.md").read_text(encoding="utf-8"))
        if "torchvision" in block.code
    )  # fmt: skip
    (tmp_path / block.title).write_text(block.code, encoding="utf-8")
    name = re.findall(r"^(\w+) = ", block.code, re.M)[0]
    for augment in (f"{Path(block.title).stem}:{name}", "torchvision.transforms.v2:RandomHorizontalFlip"):
        found = find_augmentation(augment, code=str(tmp_path))
        pixels = torch.randint(0, 256, (8, 3, 16, 16), dtype=torch.uint8, generator=generator(1))
        one, same, other = (found(pixels, generator(seed), (16, 16)) for seed in (4, 4, 5))
        assert (one.dtype, one.shape) == (torch.float32, pixels.shape)
        assert torch.equal(one, same)
        assert not torch.equal(one, other)
