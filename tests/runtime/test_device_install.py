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


def test_the_command_without_the_extra_is_one_line() -> None:
    code = (
        "import importlib.util as u\nfind = u.find_spec\n"
        "u.find_spec = lambda name, *rest: None if name in ('click', 'rich') else find(name, *rest)\n"
        "from latentbit.__main__ import main; main()"
    )
    done = python(code)
    assert done.returncode == 1
    assert done.stderr == (
        "error: the pipeline needs click and rich: pip install 'latentbit[train]'"
        " (on a device use: python -m latentbit.runtime)\n"
    )


def test_version_is_that_of_the_distribution() -> None:
    from importlib.metadata import version

    assert version("latentbit") == latentbit.__version__
