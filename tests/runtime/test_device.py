"""The device's commands on the stored bundle, with what a device installs."""

import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from latentbit.runtime.__main__ import main
from latentbit.runtime.classify import Preprocessing
from latentbit.runtime.errors import DataError
from latentbit.runtime.proof.device import check_bundle, sensors

BUNDLE = Path(__file__).resolve().parents[1] / "data" / "digits.zip"
QUICK = ["--oracle-samples", "2", "--latency-runs", "3"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.unpack_archive(BUNDLE, tmp_path / "bundle")
    return tmp_path / "bundle"


def test_check_passes_and_tells_what_it_measured(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(BUNDLE), "--json", *QUICK]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["passed"] is True
    assert report["samples"] == report["bundle"]["samples"] == 50
    assert report["agreement"]["oracle_integer_mismatches"] == 0
    assert report["throughput"] > 0
    assert report["peak_memory_bytes"] > 10_000_000
    assert set(report["kernels"]) == {
        "blocks.0.conv",
        "blocks.1.conv",
        "blocks.2.conv",
        "blocks.3.conv",
        "hidden.dense",
    }
    assert set(report["sensors"]) == {"celsius", "mhz"}


def test_check_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(BUNDLE), *QUICK]) == 0
    shown = capsys.readouterr().out
    passed, meaning = shown.splitlines()[-2:]
    assert passed.startswith("accuracy check passed: 50 images, none of ")
    assert meaning.startswith("The file answers as the trained network did")
    for words in ("passed: True", "oracle_integer_mismatches: 0", "median", "throughput", "peak_memory_bytes"):
        assert words in shown


def test_a_wrong_answer_is_exit_code_1(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with np.load(folder / "reference.npz") as stored:
        arrays = dict(stored)
    arrays["logits"] = arrays["logits"][:, ::-1]
    np.savez(folder / "reference.npz", **arrays)
    assert main(["check", str(folder), *QUICK]) == 1
    assert "reference.npz was altered" in capsys.readouterr().err
    (folder / "manifest.json").unlink()  # a plain folder: no digests, but the comparison still tells
    assert main(["check", str(folder), "--json", *QUICK]) == 1
    shown = capsys.readouterr()
    assert json.loads(shown.out)["bundle"] is None
    assert shown.err.startswith("error: the largest logit difference")


def test_tolerances_given_replace_those_of_the_bundle() -> None:
    report = check_bundle(BUNDLE, max_logit_difference=0.0, min_top1_agreement=0.0, oracle_samples=1, latency_runs=1)
    assert report.bundle is not None
    assert report.bundle["tolerances"]["max_logit_difference"] > 0
    difference = report.check.agreement.max_abs_logit_difference
    assert report.check.passed is (difference == 0.0)


def test_what_is_no_bundle_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none", tmp_path / "none.zip"):
        with pytest.raises(DataError, match="bundle"):
            check_bundle(path)


def test_sensors_read_what_the_system_tells(tmp_path: Path) -> None:
    zone = tmp_path / "class/thermal/thermal_zone0"
    zone.mkdir(parents=True)
    (zone / "type").write_text("cpu-thermal\n")
    (zone / "temp").write_text("48312\n")
    silent = tmp_path / "class/thermal/thermal_zone1"
    silent.mkdir()
    frequency = tmp_path / "devices/system/cpu/cpu0/cpufreq"
    frequency.mkdir(parents=True)
    (frequency / "scaling_cur_freq").write_text("1500000\n")
    assert sensors(tmp_path) == {"celsius": {"thermal_zone0 cpu-thermal": 48.312}, "mhz": {"cpu0": 1500.0}}
    assert sensors(tmp_path / "none") == {"celsius": {}, "mhz": {}}


def test_a_bundle_is_checked_without_the_pipelines_packages() -> None:
    code = (
        "import sys; from latentbit.runtime.__main__ import main; main(sys.argv[1:])\n"
        "print([n for n in ('torch', 'click', 'rich', 'onnxscript') if n in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "check", str(BUNDLE), *QUICK], capture_output=True, text=True, check=True
    )
    assert done.stderr == "[]\n"


def test_a_reader_that_stops_early_gets_no_traceback() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "latentbit.runtime", "info", "zoo:digits"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.close()
    _, err = process.communicate()
    assert (process.returncode, err) == (0, "")


PLAIN = Preprocessing(channels=1, height=4, width=6, mean=(0.5,), std=(0.25,), pixel_range=16.0, raw=False)


def test_preprocessing_scales_cuts_and_normalises() -> None:
    image_module = pytest.importorskip("PIL.Image", reason="needs the extra images")
    picture = image_module.fromarray(np.tile(np.array([0, 255], np.uint8).repeat(6), (8, 1)))  # 12 × 8: no cut
    batch = PLAIN.apply(picture)
    assert batch.shape == (1, 1, 4, 6)
    assert batch.dtype == np.float32
    np.testing.assert_allclose(batch[0, 0, :, [0, -1]].T, [[-2.0, 2.0]] * 4)
    wide = image_module.fromarray(np.zeros((4, 100), np.uint8))
    assert PLAIN.apply(wide).shape == (1, 1, 4, 6)
    colour = image_module.fromarray(np.full((4, 6, 3), 255, np.uint8))
    np.testing.assert_allclose(PLAIN.apply(colour), 2.0)


def test_preprocessing_of_a_model_that_reads_pixels() -> None:
    image_module = pytest.importorskip("PIL.Image", reason="needs the extra images")
    raw = Preprocessing(channels=3, height=2, width=2, mean=(0.0,) * 3, std=(1.0,) * 3, pixel_range=255.0, raw=True)
    pixels = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    np.testing.assert_array_equal(raw.apply(image_module.fromarray(pixels)), pixels[None])


def test_classify_names_digits(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image_module = pytest.importorskip("PIL.Image", reason="needs the extra images")
    from latentbit.runtime import InferenceSession
    from latentbit.runtime.classify import read_preprocessing

    wanted = read_preprocessing(InferenceSession(folder / "model.onnx"))
    with np.load(folder / "reference.npz") as stored:
        inputs, logits = stored["inputs"][:8], stored["logits"][:8]
    paths = []
    for index, values in enumerate(inputs):
        pixels = np.rint((values[0] * np.float32(wanted.std[0]) + np.float32(wanted.mean[0])) * 255).astype(np.uint8)
        paths.append(str(tmp_path / f"{index}.png"))
        image_module.fromarray(pixels).save(paths[-1])
    assert main(["classify", str(folder / "model.onnx"), *paths, "--json", "--top", "3"]) == 0
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [answer["top"][0][0] for answer in answers] == [str(best) for best in logits.argmax(axis=1)]
    for answer in answers:
        shares = [share for _, share in answer["top"]]
        assert len(shares) == 3
        assert 1 >= shares[0] >= shares[1] >= shares[2] >= 0


def test_classify_refuses_what_is_no_image(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image_module = pytest.importorskip("PIL.Image", reason="needs the extra images")
    (tmp_path / "text.png").write_text("no image")
    buffer = io.BytesIO()
    image_module.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)).save(buffer, "PNG")
    (tmp_path / "cut.png").write_bytes(buffer.getvalue()[:1000])
    for name in ("text.png", "cut.png", "none.png"):
        assert main(["classify", str(folder / "model.onnx"), str(tmp_path / name)]) == 1
        message = capsys.readouterr().err
        assert name in message
        assert message.count("\n") == 1


def test_classify_without_pillow_says_how_to_get_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    assert main(["classify", str(folder / "model.onnx"), "any.png"]) == 1
    assert "pip install 'latentbit[images]'" in capsys.readouterr().err
