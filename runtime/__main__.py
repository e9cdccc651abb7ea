"""The commands of a device: ``python -m latentbit.runtime run|check|classify|info|profile|bench``.

Exit code 0: passed; 1: failed (an accuracy out of tolerance included); 2: wrong usage; 130: stopped by Ctrl-C. An
expected error is one line.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from .classify import classify
from .errors import CheckFailed, DataError, InputError, LatentbitError, first_line
from .files import atomic_path, drop_output, output_errors, write_json
from .imported import import_function
from .proof.bench import bench, random_feeds
from .proof.device import check_bundle
from .proof.peers import PEERS
from .proof.tolerances import Tolerances
from .session.info import StepInfo
from .session.memory import MemoryUse
from .session.profile import chrome_trace, summed
from .session.self_test import NO_SELF_TEST
from .session.session import InferenceSession
from .zoo.catalogue import find_model, picture

__all__ = ["VERBS", "main"]


VERBS = ("run", "check", "classify", "info", "profile", "bench")


def main(arguments: Sequence[str] | None = None, program: str = "python -m latentbit.runtime") -> int:
    """Run one command and return the exit code; help calls it ``program``."""
    try:
        options = _parser(program).parse_args(arguments)  # a model of the zoo is looked up, and may be refused
        with output_errors():
            options.command(options)
    except LatentbitError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130
    except BrokenPipeError:  # whoever read our output, ``head`` for one, has enough
        drop_output()
        return int(options.command is _check)  # a verdict that nobody heard is no success
    return 0


def _parser(program: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=program, description="Run packed binary networks.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    model: dict[str, Any] = {"type": find_model, "help": "a .onnx file, or zoo:NAME"}

    run = commands.add_parser("run", help="run a model on an array of a .npy file")
    run.add_argument("model", **model)
    run.add_argument("input", type=Path, help="input array, .npy")
    run.add_argument("-o", "--output", type=Path, help="write the first output here (.npy) instead of printing classes")
    run.set_defaults(command=_run)

    test = commands.add_parser("check", help="check this device against the answers recorded in a bundle")
    test.add_argument("bundle", type=Path, help="folder or .zip of pipeline bundle; its tolerances hold by default")
    test.add_argument(
        "--trust-kernels", action="store_true", help="run the native code in the bundle, if there is some"
    )
    test.add_argument("--public-key", type=Path, metavar="FILE", help="key (PEM) that must have signed the bundle")
    for each in fields(Tolerances):
        test.add_argument(f"--{each.name.replace('_', '-')}", type=type(each.default), metavar="VALUE")
    test.add_argument(
        "--metric",
        metavar="MODULE:FUNCTION",
        help="measure metric(outputs, targets) too: arrays to a number",
    )
    test.set_defaults(command=_check)

    labels = commands.add_parser("classify", help="name what is on image files: labels with their probabilities")
    labels.add_argument("model", **model)
    labels.add_argument("image", type=Path, nargs="*", help="image files (default: one that ships with zoo:NAME)")
    labels.add_argument("--top", type=int, default=5, help="labels per image (default: 5)")
    labels.set_defaults(command=_classify)

    info = commands.add_parser("info", help="tell what runs packed on which kernel, what runs float, and why")
    info.add_argument("model", **model)
    info.add_argument("--shape", help="shape of the input for which to tell the memory, for example 1,3,224,224")
    info.set_defaults(command=_info)

    times = commands.add_parser("profile", help="tell how long each step of a model takes on random data")
    times.add_argument("model", **model)
    times.add_argument("--runs", type=int, default=50)
    times.add_argument("--trace", type=Path, help="write one run for chrome://tracing or Perfetto (.json)")
    times.set_defaults(command=_profile)

    speed = commands.add_parser("bench", help="time a model here beside what a user would run instead")
    speed.add_argument("model", **model)
    speed.add_argument("--peers", default="onnxruntime", help=f"of {', '.join(PEERS)}, separated by commas")
    speed.add_argument("--runs", type=int, default=100)
    speed.add_argument("--batch", type=int, default=1)
    speed.set_defaults(command=_bench)

    for command in (run, test, labels, info):
        command.add_argument("--threads", type=int, default=1)
    speed.add_argument("--threads", default="1", help="numbers of threads, for example 1,2")
    for command in (test, labels, info, times, speed):
        command.add_argument("--json", action="store_true", help="print JSON")
    return parser


def _trusted(options: argparse.Namespace) -> InferenceSession:
    """Return a session that has passed the self-test of its file. Raises CheckFailed for one that has not."""
    session = InferenceSession(options.model, num_threads=options.threads)
    session.self_test()
    return session


def _run(options: argparse.Namespace) -> None:
    session = _trusted(options)
    try:
        array = np.load(options.input, allow_pickle=False)
    except Exception as error:  # numpy parses a header that says what it likes, and raises many kinds
        reason = first_line(error)
        raise DataError(f"cannot read {options.input}: {reason}; give an array saved by numpy.save") from None
    inputs = session.get_inputs()
    if len(inputs) != 1:
        raise InputError(f"the model has {len(inputs)} inputs; run takes models with one, use the library for others")
    result = session.run(None, {inputs[0].name: array})[0]
    if options.output is None:
        for row in result.reshape(len(result), -1):
            print(int(row.argmax()))
        return
    with atomic_path(options.output) as part:
        np.save(part, result)


def _check(options: argparse.Namespace) -> None:
    given = {each.name: value for each in fields(Tolerances) if (value := getattr(options, each.name)) is not None}
    metric = None if options.metric is None else import_function("--metric", options.metric)
    report = check_bundle(
        options.bundle,
        num_threads=options.threads,
        metric=metric,
        trust_kernels=options.trust_kernels,
        public_key=options.public_key,
        **given,
    )
    if report.unused_kernels is not None:
        print(
            f"the bundle's kernels for {report.unused_kernels} were not used, for they are native code: "
            "--trust-kernels runs them, or --public-key FILE if their maker has signed the bundle",
            file=sys.stderr,
        )
    if options.json:
        print(json.dumps(report.to_json(), indent=2))
    else:
        _print_tree(report.to_json())
    if report.check.metric and metric is None:
        print(
            f"the metric {report.check.metric} was not measured here: give --metric {report.check.metric} in a folder"
            " from which it can be imported",
            file=sys.stderr,
        )
    if not report.check.passed:
        raise CheckFailed("; ".join(report.check.failures))
    if not options.json:
        compared = report.check.agreement.oracle_integers_compared
        print(f"accuracy check passed: {report.check.samples} images, none of {compared:,} compared integers differs")
        print(report.check.meaning)


def _classify(options: argparse.Namespace) -> None:
    shipped = picture(options.model)
    if not options.image and shipped is None:
        raise InputError(f"{options.model} comes with no image to try it on: name image files")
    session = _trusted(options)
    for answer in classify(session, options.image or [shipped], top=options.top):
        if options.json:
            print(json.dumps({"image": str(answer.path), "top": answer.top}), flush=True)
        else:
            print(f"{answer.path}: {', '.join(f'{label} {share:.1%}' for label, share in answer.top)}", flush=True)


def _info(options: argparse.Namespace) -> None:
    session = InferenceSession(options.model, num_threads=options.threads)
    steps = session.get_steps()
    told, failure = _self_test(session)
    shapes, memory = _memory(session, options.shape)
    if options.json:
        use = memory if isinstance(memory, str) else {**vars(memory), "peak": memory.peak}
        found = {"steps": [vars(step) for step in steps], "self_test": told, "shapes": shapes, "memory": use}
        print(json.dumps(found, indent=2))
    else:
        _print_info(session, steps)
        print(f"self-test: {told}")
        shown = ", ".join(f"{name} {list(sizes)}" for name, sizes in shapes.items())
        print(f"memory for {shown}: {memory}")
    if failure is not None:
        raise failure


def _memory(session: InferenceSession, given: str | None) -> tuple[dict[str, list[int]], MemoryUse | str]:
    """Return shapes, those of the option for the first input, and the memory for them, or why it is not known."""
    shapes = {info.name: [size if isinstance(size, int) else 1 for size in info.shape] for info in session.get_inputs()}
    if given is not None:
        try:
            shapes[next(iter(shapes))] = [int(size) for size in given.split(",")]
        except ValueError:
            raise InputError(f"--shape {given!r}: give sizes, for example 1,3,224,224") from None
        return shapes, session.memory(shapes)
    try:
        return shapes, session.memory(shapes)
    except InputError as error:  # of sizes that the file leaves free, 1 may be too small
        return shapes, f"not known ({error}); give --shape"


def _self_test(session: InferenceSession) -> tuple[str, CheckFailed | None]:
    """Return in words how the self-test of the file ended, and the error of one that failed."""
    try:
        passed = session.self_test()
    except CheckFailed as error:
        return "failed", error
    return NO_SELF_TEST if passed is None else str(passed), None


def _print_info(session: InferenceSession, steps: Sequence[StepInfo]) -> None:
    for info in (*session.get_inputs(), *session.get_outputs()):
        print(f"{info.name}: {info.type} {info.shape}")
    width = max(len(step.name) for step in steps)
    for step in steps:
        print(f"{step.name:{width}}  {step.kind:6}  {step.kernel:11}  {' '.join(step.ops)}  {step.reason}".rstrip())


def _profile(options: argparse.Namespace) -> None:
    session = InferenceSession(options.model)
    feeds = random_feeds(session)
    session.run(None, feeds)
    runs = [session.profile(feeds) for _ in range(max(1, options.runs))]
    if options.trace is not None:
        write_json(options.trace, chrome_trace(runs[-1]))
    medians = {name: float(np.median([summed(run)[name] for run in runs])) for name in summed(runs[0])}
    if options.json:
        print(json.dumps(medians, indent=2))
        return
    width = max(len(name) for name in medians)
    for name, microseconds in medians.items():
        print(f"{name:{width}} {microseconds:9.1f} µs")
    print(f"{'sum':{width}} {sum(medians.values()):9.1f} µs")


def _bench(options: argparse.Namespace) -> None:
    try:
        threads = [int(count) for count in options.threads.split(",")]
    except ValueError:
        raise InputError(f"--threads {options.threads!r}: give numbers, for example 1,2") from None
    peers = [peer for peer in options.peers.split(",") if peer]
    report = bench(options.model, peers=peers, threads=threads, runs=options.runs, batch=options.batch)
    if options.json:
        print(json.dumps(report.to_json(), indent=2))
        return
    print(f"{'engine':16} threads  median ms   p95 ms   p99 ms  ratio")
    for row in report.results:
        median, p95, p99 = row.times.median, row.times.p95, row.times.p99
        print(f"{row.engine:16} {row.threads:7} {median:10.3f} {p95:8.3f} {p99:8.3f} {row.ratio:6.2f}")


def _print_tree(value: dict[str, Any], indent: str = "") -> None:
    for key, entry in value.items():
        if isinstance(entry, dict):
            if any(part not in (None, {}) for part in entry.values()):
                print(f"{indent}{key}")
                _print_tree(entry, indent + "  ")
        elif isinstance(entry, list):
            print(f"{indent}{key}: {', '.join(str(item) for item in entry) or 'none'}")
        elif entry not in (None, ""):  # else it is not known here, or there is no such thing
            print(f"{indent}{key}: {entry:.6g}" if isinstance(entry, float) else f"{indent}{key}: {entry}")


if __name__ == "__main__":
    sys.exit(main())
