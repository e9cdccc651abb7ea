"""Data sets: the digits, splits, normalisation, and the augmentations."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from latentbit.runtime.errors import ConfigError
from latentbit.training.data.augment import find_augmentation, shift_and_flip
from latentbit.training.data.catalogue import load
from latentbit.training.data.dataset import holdout, stratified_split


def test_digits_are_split_by_class_and_always_alike() -> None:
    first, second = load("digits"), load("digits")
    assert first.train_images.shape == (1258, 1, 8, 8)
    assert first.test_images.shape == (539, 1, 8, 8)
    assert first.sha256 == second.sha256 == "637ba7029c832304cba630030d15989f932d803093c447095e6a854e370fa116"
    shares = np.bincount(first.test_labels) / (np.bincount(first.test_labels) + np.bincount(first.train_labels))
    assert np.allclose(shares, 0.3, atol=0.005)
    assert first.classes == tuple("0123456789")


def test_normalised_training_images_have_mean_zero_and_deviation_one() -> None:
    digits = load("digits")
    values = digits.normalise(digits.train_images)
    assert values.dtype == np.float32
    assert abs(values.mean()) < 1e-4
    assert abs(values.std() - 1) < 1e-4
    assert digits.input_metadata() == {
        "layout": "NCHW",
        "channels": 1,
        "height": 8,
        "width": 8,
        "mean": list(digits.mean),
        "std": list(digits.std),
        "range": 16.0,
    }


@given(st.lists(st.integers(0, 3), min_size=4, max_size=60), st.floats(0.1, 0.9), st.integers(0, 5))
def test_a_stratified_split_parts_every_class(labels: list[int], fraction: float, seed: int) -> None:
    array = np.array(labels, np.int64)
    kept, taken = stratified_split(array, fraction, seed)
    assert sorted([*kept, *taken]) == list(range(len(labels)))
    for label in set(labels):
        assert (array[taken] == label).sum() == round(fraction * labels.count(label))


def test_holdout_comes_from_the_training_part() -> None:
    digits = load("digits")
    part = holdout(digits, 0.1)
    assert len(part.train_labels) + len(part.test_labels) == len(digits.train_labels)
    assert (part.mean, part.std, part.sha256) == (digits.mean, digits.std, digits.sha256)
    originals = [image.tobytes() for image in digits.train_images]
    together = [image.tobytes() for image in np.concatenate([part.train_images, part.test_images])]
    assert sorted(together) == sorted(originals)
    with pytest.raises(ConfigError, match="between 0 and 1"):
        holdout(digits, 1.0)


def test_unknown_data_set_is_named() -> None:
    with pytest.raises(ConfigError, match="unknown data set 'digit': choose one of"):
        load("digit")


@given(st.integers(0, 100), st.integers(1, 3), st.booleans())
def test_shift_and_flip_moves_whole_images(seed: int, reach: int, flip: bool) -> None:
    images = torch.randint(1, 255, (5, 2, 6, 7), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))
    moved = shift_and_flip(images, torch.Generator().manual_seed(seed), reach=reach, flip=flip)
    assert (moved.dtype, moved.shape) == (images.dtype, images.shape)
    wide = torch.nn.functional.pad(images, (reach,) * 4)
    for found, source in zip(moved, wide, strict=True):
        mirrors = [source, source.flip(2)] if flip else [source]
        candidates = [
            mirror[:, y : y + 6, x : x + 7]
            for mirror in mirrors
            for y in range(2 * reach + 1)
            for x in range(2 * reach + 1)
        ]
        assert any(torch.equal(found, candidate) for candidate in candidates)


def test_augmentation_follows_its_generator_and_varies_by_image() -> None:
    images = torch.arange(64, dtype=torch.uint8).view(1, 1, 8, 8).expand(40, 1, 8, 8)
    augment = find_augmentation("shift1")
    one, two = (augment(images, torch.Generator().manual_seed(7), (8, 8)) for _ in range(2))
    assert torch.equal(one, two)
    assert len({image.numpy().tobytes() for image in one}) == 9
    assert torch.equal(find_augmentation("none")(images, torch.Generator(), (8, 8)), images)
