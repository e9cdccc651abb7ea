"""The commands: exit codes are part of the interface, and an expected error is one line without a traceback."""

import json
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from latentbit.pipeline import cli as commands
from latentbit.pipeline import config as configuration
from latentbit.pipeline.cli import cli, main
from latentbit.pipeline.paths import REPORT
from latentbit.pipeline.rundir import RunDir, StageRecord
from latentbit.pipeline.stages import STAGES
from latentbit.runtime.errors import CheckFailed, LatentbitError
from latentbit.runtime.proof.report import Accuracy, Agreement, CheckReport, Latency, Size, Times


def run(*arguments: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """Run the command line in this process; returns exit code, stdout, stderr."""
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    captured = capsys.readouterr()
    assert isinstance(ended.value.code, int)
    return ended.value.code, captured.out, captured.err


def test_every_stage_is_a_command_with_help() -> None:
    assert {stage.name for stage in STAGES} < set(cli.commands)
    for name, command in cli.commands.items():
        shown = CliRunner().invoke(cli, [name, "--help"])
        assert shown.exit_code == 0
        assert command.help, name
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert parameter.help, f"{name} {parameter.name}"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run-all", "-s", "train.epoch=3"], "did you mean 'train.epochs'"),
        (["run-all", "-s", "train.epochs=three"], "must be a whole number"),
        (["run-all", "-c", "missing.toml"], "missing.toml: No such file"),
        (["run-all", "--from", "check", "--until", "fold"], "--from check lies behind --until fold"),
        (["run-all", "--from", "cook"], "cook"),
        (["run-all", "--colour"], "--colour"),
        (["cook"], "cook"),
        (["fold"], "RUN"),
    ],
)
def test_usage_errors_exit_with_2(
    arguments: list[str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, err = run(*arguments, capsys=capsys)
    assert code == 2
    assert words in err
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == [], "a refused command leaves nothing behind"


def test_failures_exit_with_1_and_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run("show", str(tmp_path / "none"), capsys=capsys)
    assert (code, err.count("\n")) == (1, 1)
    assert err.startswith("error: there is no run at")
    (tmp_path / "run.json").write_text("{")
    code, _, err = run("fold", str(tmp_path), capsys=capsys)
    assert (code, err.count("\n")) == (1, 1)
    assert "run.json is corrupt" in err


def test_a_manifest_may_name_other_stages(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_dir = RunDir.open(tmp_path)
    run_dir.stages["quantize"] = StageRecord({}, finished=True)
    run_dir.save()
    code, out, _ = run("show", str(tmp_path), "--json", capsys=capsys)
    assert code == 0
    assert "quantize" not in json.loads(out)["stages"]


def test_a_stage_before_its_turn_names_the_one_that_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = run("fold", str(tmp_path / "run"), capsys=capsys)
    assert code == 1
    assert "stage train" in err
    assert list(tmp_path.iterdir()) == [], "a refused command leaves nothing behind"


def test_an_unexpected_error_keeps_its_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(path: Path) -> RunDir:
        raise ZeroDivisionError

    monkeypatch.setattr(RunDir, "open", broken)
    with pytest.raises(ZeroDivisionError):
        main(["show", str(tmp_path)])


def test_an_error_of_many_lines_is_put_on_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(path: Path) -> RunDir:
        raise LatentbitError("one\n  two")

    monkeypatch.setattr(RunDir, "open", fails)
    code, _, err = run("show", "x", capsys=capsys)
    assert (code, err) == (1, "error: one two\n")


@pytest.mark.parametrize("missing", ["torch", "onnxscript", "sklearn"])
def test_a_missing_package_of_the_extra_is_one_line(missing: str, tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules[sys.argv[1]] = None\n"
        "from latentbit.pipeline.cli import main; main(['run-all', '-o', sys.argv[2], '-s', 'train.epochs=1'])"
    )
    done = subprocess.run([sys.executable, "-c", code, missing, str(tmp_path / "run")], capture_output=True, text=True)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert "pip install 'latentbit[train]'" in done.stderr


def report(passed: bool) -> CheckReport:
    return CheckReport(
        failures=() if passed else ("top-1 agreement 0.5 is below 0.995",),
        samples=4,
        accuracy=Accuracy(None, 0.98, 0.98, folded_on_samples=0.98, deployed=0.5),
        agreement=Agreement(
            oracle_integer_mismatches=0,
            oracle_integers_compared=100,
            top1_agreement=0.5,
            max_abs_logit_difference=0.3,
            max_abs_logit_difference_unflipped=1e-6,
            flipped_signs={"conv": 3, "hidden": 0},
            flipped_share=2e-05,
            flipped_images=1,
        ),
        size_bytes=Size(packed=1024, float=4096),
        latency_ms=Latency(latentbit=Times(0.5, 1.0, 0.4), onnxruntime_fp32=Times(1.0, 2.0, 0.9)),
        throughput=2000.0,
        kernels={"conv": "ctp", "hidden": "ctp"},
        peak_memory_bytes=1 << 20,
        environment={},
    )


@pytest.mark.parametrize("passed", [True, False])
def test_a_check_out_of_tolerance_is_exit_code_1_even_when_fresh(
    passed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / REPORT
    target.parent.mkdir()
    target.write_text(json.dumps(report(passed).to_json()))
    RunDir(tmp_path).save()
    monkeypatch.setattr(commands, "conduct", lambda *args, **options: None)
    code, out, err = run("run-all", "-o", str(tmp_path), capsys=capsys)
    assert code == (0 if passed else CheckFailed.exit_code)
    assert "none" in out
    assert "4.0x smaller" in out
    assert "in 2 binary layers" in out
    assert ("agreement 0.5 is below" in err) is not passed


def test_an_existing_run_keeps_its_configuration_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    used = []
    monkeypatch.setattr(commands, "conduct", lambda run, stages, config, *args, **options: used.append(config))
    stored = RunDir(tmp_path)
    stored.config = configuration.read(None, ["train.epochs=3"])
    stored.save()
    code, out, _ = run("run-all", "-o", str(tmp_path), "--until", "fold", "-s", "train.seed=1", capsys=capsys)
    assert code == 0
    assert (used[0].train.epochs, used[0].train.seed) == (3, 1)
    assert "keeps its configuration: train.epochs" in out


def test_the_run_is_named_after_the_configuration_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(commands, "conduct", lambda run, *args, **options: paths.append(run.path))
    (tmp_path / "small.toml").write_text("[train]\nepochs = 1\n")
    assert CliRunner().invoke(cli, ["run-all", "-c", "small.toml", "--until", "fold"]).exit_code == 0
    assert CliRunner().invoke(cli, ["run-all", "--until", "fold"]).exit_code == 0
    assert paths == [Path("runs/small"), Path("runs/digits")]
