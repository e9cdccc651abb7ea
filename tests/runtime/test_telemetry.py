"""Nothing leaves the machine: onnxruntime's telemetry is off before it is imported, whoever imports it through us."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SESSION = """
import time
from latentbit.runtime import InferenceSession, zoo
session = InferenceSession(zoo.path("digits"))
assert "float" in {step.kind for step in session.get_steps()}  # a session of onnxruntime is open
time.sleep(0.5)  # what is sent or written in the background
"""
SETTING = "import os, latentbit; print(os.environ['ORT_DISABLE_TELEMETRY'])"
_CI = (
    "CI",
    "GITHUB",
    "GITLAB",
    "JENKINS",
    "TRAVIS",
    "TF_BUILD",
    "BUILD",
    "CIRCLE",
    "TEAMCITY",
    "APPVEYOR",
    "CODEBUILD",
)


def run(code: str, home: Path, **variables: str) -> str:
    """Run code in a process of a user with an empty home, on a machine that is no build server; return its output."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(_CI) and name not in ("ORT_DISABLE_TELEMETRY", "LATENTBIT_LIMITS")
    }
    for name, folder in (("HOME", "home"), ("XDG_CACHE_HOME", "cache"), ("XDG_CONFIG_HOME", "config")):
        kept[name] = str(home / folder)
        (home / folder).mkdir(exist_ok=True)
    kept |= {"PYTHONPATH": os.pathsep.join(sys.path), **variables}
    done = subprocess.run(
        [sys.executable, "-c", code], env=kept, capture_output=True, text=True, timeout=120, check=True
    )
    return done.stdout.strip()


@pytest.mark.timeout(150)
def test_a_session_writes_nothing_of_onnxruntime(tmp_path: Path) -> None:
    run(SESSION, tmp_path)
    written = {path for path in tmp_path.rglob("*") if path.is_file()}
    ours = tmp_path / "cache" / "latentbit"
    assert {path for path in written if ours not in path.parents} == set()


def test_who_has_set_the_variable_keeps_it(tmp_path: Path) -> None:
    assert run(SETTING, tmp_path) == "1"
    assert run(SETTING, tmp_path, ORT_DISABLE_TELEMETRY="0") == "0"
