"""The verbs of a device, written once: every command line is built from :data:`VERBS`.

A base install parses them with argparse (:mod:`latentbit.runtime.__main__`), the whole command line with click
(:mod:`latentbit.pipeline.cli_board`). No kernel is loaded before a verb is performed.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ..proof.peers import PEERS
from ..proof.tolerances import Tolerances
from ..terminal import working
from ..zoo.catalogue import find_model

__all__ = ["VERBS", "Option", "Verb", "count", "perform"]


@dataclass(frozen=True)
class Option:
    """An argument of a verb, or an option of it where ``name`` begins with a dash.

    ``type`` makes the value of the text that was typed, and raises ValueError where it cannot; bool is for an option
    that takes no value. ``many``: an argument that may be left out or given several times. ``names``: the value is a
    list of some of these, which a shell may complete.
    """

    name: str
    help: str
    type: Callable[[str], Any] = str
    default: Any = None
    metavar: str = "VALUE"
    short: str = ""
    many: bool = False
    names: tuple[str, ...] = ()

    @property
    def dest(self) -> str:
        """The keyword under which the verb takes it."""
        return self.name.lstrip("-").replace("-", "_")


@dataclass(frozen=True)
class Verb:
    """A verb of a device. ``examples`` begin with its name; ``judges``: its exit code is a verdict."""

    name: str
    help: str
    options: tuple[Option, ...]
    examples: tuple[str, ...]
    judges: bool = False


def count(text: str) -> int:
    """Return a whole number from 1 on. Raises ValueError."""
    if text.strip().isdecimal() and int(text) > 0:
        return int(text)
    raise ValueError(f"{text!r} is no whole number from 1 on")


_MODEL = Option("model", "A .onnx file, or zoo:NAME.", find_model)
_PEERS = Option(
    "--peers", f"Of {', '.join(PEERS)}; by commas.", default="onnxruntime", metavar="NAMES", names=tuple(PEERS)
)
_THREADS = Option("--threads", "Threads.", count, 1, "N")

VERBS = (
    Verb(
        "run",
        "Run a model on an array, and print the class of each sample or store the output.",
        (
            _MODEL,
            Option("input", "Input array, .npy.", Path),
            Option("--output", "Write the first output here (.npy); no classes are printed.", Path, None, "FILE", "-o"),
            _THREADS,
        ),
        ("run zoo:digits images.npy", "run model.onnx images.npy -o logits.npy --threads 2"),
    ),
    Verb(
        "check",
        "Check this device against the answers recorded in a bundle.",
        (
            Option("bundle", "Folder or .zip that latentbit bundle made; its tolerances hold by default.", Path),
            Option("--trust-kernels", "Run the native code in the bundle, if there is some.", bool, False),
            Option("--public-key", "Key (PEM) that must have signed the bundle.", Path, None, "FILE"),
            *(
                Option(f"--{each.name.replace('_', '-')}", "See [check] in docs/pipeline.md.", type(each.default))
                for each in fields(Tolerances)
            ),
            Option(
                "--metric",
                "Measure metric(outputs, targets) too: arrays to a number.",
                metavar="MODULE:FUNCTION",
            ),
            _THREADS,
        ),
        ("check demo.zip", "check demo.zip --trust-kernels --threads 4", "check demo.zip --json --latency-runs 20"),
        judges=True,
    ),
    Verb(
        "classify",
        "Name what is on image files: labels with their probabilities.",
        (
            _MODEL,
            Option("image", "Image files (default: one that ships with zoo:NAME).", Path, many=True),
            Option("--top", "Labels per image.", count, 5, "N"),
            _THREADS,
        ),
        ("classify zoo:digits", "classify zoo:cifar10_resnet20 cat.jpg dog.png --top 3"),
    ),
    Verb(
        "info",
        "Tell what of a model runs packed on which kernel here, what runs float, and why.",
        (
            _MODEL,
            Option("--shape", "Shape of the input for which to tell the memory, as in 1,3,224,224.", metavar="SIZES"),
            _THREADS,
        ),
        ("info zoo:digits", "info model.onnx --shape 1,3,224,224 --json"),
    ),
    Verb(
        "profile",
        "Tell how long each step of a model takes here, on random data.",
        (
            _MODEL,
            Option("--runs", "Runs, of which the median is told.", count, 50, "N"),
            Option("--trace", "Write one run for chrome://tracing or Perfetto (.json).", Path, None, "FILE"),
        ),
        ("profile zoo:cifar10_resnet20", "profile model.onnx --runs 200 --trace trace.json"),
    ),
    Verb(
        "bench",
        "Time a model here beside what a user would run instead, by turns in one process. The integers of every packed"
        " layer are compared with the oracle before any time is taken.",
        (
            _MODEL,
            _PEERS,
            Option("--threads", "Numbers of threads, by commas.", default="1", metavar="NUMBERS"),
            Option("--runs", "Runs of every engine, by turns.", count, 100, "N"),
            Option("--batch", "Images at a time.", count, 1, "N"),
            Option("--float", "The float network (.onnx) to time beside it, in int8 too.", Path, None, "FILE"),
            Option("--reference", "reference.npz with labels: measure accuracies on it too.", Path, None, "FILE"),
        ),
        (
            "bench zoo:digits --threads 1,2",
            "bench packed.onnx --float float.onnx",
        ),
    ),
)
"""All verbs; each is a function of the same name in :mod:`.acts`, which takes its options as keywords."""


def perform(verb: Verb, options: Mapping[str, Any], *, as_json: bool) -> None:
    """Perform a verb and print its answer. Raises what the verb raises; CheckFailed where it judges, and fails."""
    with working(verb.name):
        from . import acts

        answer = getattr(acts, verb.name)(**options)
    answer.give(as_json)
