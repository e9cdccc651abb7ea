"""Corrupted images: what each kind does, how it grows, and that a seed repeats it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentbit.runtime.errors import ConfigError
from latentbit.training.data.corruptions import CORRUPTIONS, SEVERITIES, corrupt


def pictures(channels: int, side: int = 16) -> np.ndarray:
    """Return smooth pictures with an edge, so that blurs and blocks have something to change."""
    rows, columns = np.mgrid[:side, :side] / side
    plane = 80 + 100 * rows * columns + 60 * (columns > 0.5)
    return np.repeat(np.stack([plane, plane[::-1]])[:, None], channels, axis=1).round().astype(np.uint8)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_every_kind_grows_with_its_severity_and_repeats(kind: str, channels: int) -> None:
    images = pictures(channels)
    changes = []
    for severity in range(1, SEVERITIES + 1):
        found = corrupt(images, kind, severity)
        assert found.shape == images.shape
        assert found.dtype == np.uint8
        assert np.array_equal(found, corrupt(images, kind, severity))
        changes.append(np.abs(found.astype(float) - images).mean())
    assert 0 < changes[0] < changes[-1]


def test_contrast_and_brightness_are_what_they_say() -> None:
    images = pictures(3)
    mean = images.mean((2, 3), keepdims=True)
    assert np.array_equal(corrupt(images, "contrast", 5), ((images - mean) * 0.15 + mean).round())
    grey = corrupt(images, "brightness", 1)
    assert np.abs(grey - (images + 255 * 0.05)).max() <= 0.5
    black = np.zeros((1, 3, 4, 4), np.uint8)
    assert (corrupt(black, "brightness", 5) == round(0.3 * 255)).all()


def test_a_blur_keeps_the_mean_and_spares_flat_images() -> None:
    flat = np.full((1, 1, 9, 9), 77, np.uint8)
    assert np.array_equal(corrupt(flat, "gaussian_blur", 5), flat)
    spot = np.zeros((1, 1, 15, 15), np.uint8)
    spot[0, 0, 7, 7] = 255
    blurred = corrupt(spot, "gaussian_blur", 5)
    assert abs(int(blurred[0, 0, 7, 7]) - 255 / (2 * np.pi)) < 1, "the peak of a normal density of deviation 1"


@given(st.integers(1, 5), st.integers(0, 99))
def test_impulses_hit_about_their_share(severity: int, seed: int) -> None:
    images = np.full((4, 1, 50, 50), 128, np.uint8)
    hit = corrupt(images, "impulse_noise", severity, seed=seed) != 128
    share = (0.01, 0.02, 0.03, 0.05, 0.07)[severity - 1]
    assert abs(hit.mean() - share) < 5 * np.sqrt(share / hit.size)


@pytest.mark.parametrize(("kind", "severity"), [("fog", 1), ("jpeg", 0), ("jpeg", 6)])
def test_unknown_corruptions_are_refused(kind: str, severity: int) -> None:
    with pytest.raises(ConfigError, match=r"is unknown: choose one of gaussian_noise.*, severity 1 to 5"):
        corrupt(pictures(1), kind, severity)
