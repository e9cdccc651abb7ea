"""PSNR and SSIM: against their definitions, computed slowly, against cases by hand, and against scikit-image."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from latentbit.runtime.errors import ConfigError
from latentbit.runtime.fidelity import psnr, restoration, ssim, x2, x4

RANDOM = np.random.default_rng(0)
WANTED = RANDOM.integers(0, 256, (24, 30)).astype(np.float64)
FOUND = np.clip(WANTED + RANDOM.normal(0, 12, WANTED.shape), 0, 255)


def slow_ssim(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """The definition, window by window."""
    steps = np.arange(-5, 6)
    window = np.exp(-(steps[:, None] ** 2 + steps**2) / (2 * 1.5**2))
    window /= window.sum()
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    found = []
    for top in range(x.shape[0] - 10):
        for left in range(x.shape[1] - 10):
            a, b = x[top : top + 11, left : left + 11], y[top : top + 11, left : left + 11]
            mean_a, mean_b = (window * a).sum(), (window * b).sum()
            var_a, var_b = (window * (a - mean_a) ** 2).sum(), (window * (b - mean_b) ** 2).sum()
            both = (window * (a - mean_a) * (b - mean_b)).sum()
            above = (2 * mean_a * mean_b + c1) * (2 * both + c2)
            found.append(above / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2)))
    return float(np.mean(found))


def test_psnr_by_hand() -> None:
    assert psnr(np.full((4, 4), 7.0), np.full((4, 4), 5.0)) == pytest.approx(10 * math.log10(255**2 / 4))
    assert psnr(np.array([0.0, 0.5]), np.array([0.0, 0.0]), peak=1.0) == pytest.approx(10 * math.log10(8))
    assert psnr(WANTED, WANTED) == math.inf


def test_ssim_is_its_definition() -> None:
    assert ssim(FOUND, WANTED) == pytest.approx(slow_ssim(FOUND, WANTED), abs=1e-9)
    assert ssim(WANTED, WANTED) == pytest.approx(1.0)
    c1 = (0.01 * 255) ** 2
    flat = ssim(np.full((11, 11), 100.0), np.full((11, 11), 50.0))
    assert flat == pytest.approx((2 * 100 * 50 + c1) / (100**2 + 50**2 + c1)), "of flat images only the means differ"


def test_both_are_those_of_scikit_image() -> None:
    metrics = pytest.importorskip("skimage.metrics", reason="needs scikit-image, which nothing else here does")
    wanted = metrics.peak_signal_noise_ratio(WANTED, FOUND, data_range=255)
    assert psnr(FOUND, WANTED) == pytest.approx(wanted)
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
    assert ssim(FOUND, WANTED) == pytest.approx(metrics.structural_similarity(FOUND, WANTED, **options))


@pytest.mark.parametrize(("metric", "scale"), [(x2, 2), (x4, 4)])
def test_the_metric_leaves_the_border_out_and_rounds_as_an_image_file_does(metric: object, scale: int) -> None:
    assert callable(metric)
    targets = np.stack([WANTED, WANTED[::-1]])[:, None].astype(np.float32) / 255
    outputs = targets + np.float32(0.4 / 255)  # less than half a step: nothing is left after rounding
    outputs[:, :, :scale] = outputs[:, :, -scale:] = 7
    outputs[..., :scale] = outputs[..., -scale:] = -7
    assert metric(outputs, targets) == {"psnr": math.inf, "ssim": pytest.approx(1.0)}
    outputs[0, 0, scale, scale] = 7
    assert metric(outputs, targets) == restoration(outputs, targets, scale=scale)
    assert metric(outputs, targets)["ssim"] < 1
    count = (24 - 2 * scale) * (30 - 2 * scale)
    error = float(255 - WANTED[scale, scale]) ** 2 / count
    assert restoration(outputs[:1], targets[:1], scale=scale)["psnr"] == pytest.approx(10 * math.log10(255**2 / error))


def test_images_of_other_sizes_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"images of \[24, 30\] and of \[24, 29\] cannot be compared"):
        psnr(FOUND, WANTED[:, 1:])
    with pytest.raises(ConfigError, match="at least 11×11 pixels"):
        ssim(FOUND[:10], WANTED[:10])
