"""The recipe of super-resolution, small and on noise: every stage, the verdict by PSNR, the page, any image size."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from latentbit.pipeline.paths import MODEL, REPORT
from latentbit.runtime import InferenceSession
from latentbit.runtime.proof.report import CheckReport

from .conftest import pipeline

RECIPE = Path(__file__).parents[2] / "configs" / "sr_x2_e2fif.toml"
SMALL = {
    "train.width": 8,
    "train.epochs": 1,
    "train.batch_size": 800,
    "fold.samples": 3,
    "check.oracle_samples": 1,
    "check.latency_runs": 2,
}


@pytest.mark.skipif(not RECIPE.exists(), reason="configs/ is no part of the installed package")
def test_the_recipe_from_end_to_end(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for part, size in (("BSDS500_train200", 60), ("BSD100/HR", 150)):
        folder = tmp_path / "sr" / part
        folder.mkdir(parents=True)
        for number in range(3):
            pixels = np.kron(random.integers(0, 256, (size // 6, size // 6)), np.ones((6, 6))).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{number}.png")
    run = tmp_path / "run"
    changes = [word for key, value in SMALL.items() for word in ("-s", f"{key}={value}")]
    done = pipeline("run-all", "-c", str(RECIPE), "-o", str(run), "-s", f"train.root={tmp_path}", *changes)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "PSNR of logits" in done.stdout or "psnr, deployed" in done.stdout
    report = CheckReport.from_json(json.loads((run / REPORT).read_text(encoding="utf-8")))
    assert report.passed
    assert report.agreement.oracle_integers_compared > 0
    assert set(report.metrics) == {"trained", "folded", "folded_on_samples", "deployed"}
    assert report.metrics["deployed"]["psnr"] == pytest.approx(report.metrics["folded"]["psnr"], abs=0.05)
    assert len(report.kernels) == 16
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "Images, before and after" in page
    assert page.count("<img") == 9, "input, answer and target of each of the three"
    session = InferenceSession(run / MODEL)
    (found,) = session.run(None, {session.get_inputs()[0].name: np.zeros((1, 1, 17, 40), np.float32)})
    assert found.shape == (1, 1, 34, 80)
