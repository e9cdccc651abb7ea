"""What a device installs is enough for the runtime, and the rest says in one line what is missing."""

import subprocess
import sys

import latentbit


def python(code: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)


def test_the_runtime_imports_nothing_of_the_pipeline() -> None:
    code = (
        "import sys; from latentbit.runtime import InferenceSession, check\n"
        "print([name for name in ('torch', 'click', 'rich', 'onnxscript', 'onnx_ir') if name in sys.modules])"
    )
    done = python(code)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_the_errors_import_nothing_heavy() -> None:
    code = (
        "import sys; from latentbit.runtime.errors import LatentbitError\n"
        "print([name for name in ('numba', 'onnx', 'onnxruntime', 'numpy') if name in sys.modules])"
    )
    assert python(code).stdout == "[]\n"


BASE = (
    "import importlib.util as u\nfind = u.find_spec\n"
    "u.find_spec = lambda name, *rest: None if name in ('click', 'rich') else find(name, *rest)\n"
    "from latentbit.__main__ import main; main()"
)
"""The command ``latentbit`` where the extra is not installed."""


def test_a_verb_that_needs_the_extra_says_so_in_one_line() -> None:
    done = python(BASE, "run-all", "-o", "x")
    assert done.returncode == 1
    assert done.stderr == (
        "error: run-all needs click and rich: pip install 'latentbit[train]'"
        " (without the extra there are run, check, classify, info, profile, bench)\n"
    )


def test_the_verbs_of_a_device_need_no_extra() -> None:
    done = python(BASE, "info", "zoo:digits")
    assert (done.returncode, done.stderr) == (0, "")
    assert "blocks.0.conv" in done.stdout
    assert python(BASE, "--help").stdout.startswith("usage: latentbit")
    assert python(BASE, "info", "zoo:digit").stderr.count("\n") == 1


def test_version_is_that_of_the_distribution() -> None:
    from importlib.metadata import version

    assert version("latentbit") == latentbit.__version__
