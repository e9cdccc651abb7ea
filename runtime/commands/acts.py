"""What the verbs of a device do: a function a verb, its options as keywords, an :class:`Answer` back."""

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..classify import classify as classify_files
from ..errors import CheckFailed, DataError, InputError, first_line
from ..files import atomic_path, write_json
from ..imported import import_function
from ..proof.bench import BenchReport, random_feeds
from ..proof.bench import bench as bench_model
from ..proof.device import DeviceReport, check_bundle
from ..session.info import StepInfo
from ..session.memory import MemoryUse
from ..session.profile import chrome_trace, summed
from ..session.self_test import NO_SELF_TEST
from ..session.session import InferenceSession
from ..terminal import Answer, verdict
from ..zoo.catalogue import picture

__all__ = ["bench", "check", "classify", "info", "profile", "run"]


def _trusted(model: Path, threads: int) -> InferenceSession:
    """Return a session that has passed the self-test of its file. Raises CheckFailed for one that has not."""
    session = InferenceSession(model, num_threads=threads)
    session.self_test()
    return session


def run(model: Path, input: Path, output: Path | None, threads: int) -> Answer:
    """Run a model with one input on an array. Figures: ``classes`` of the samples, or ``output``, the file."""
    session = _trusted(model, threads)
    try:
        array = np.load(input, allow_pickle=False)
    except Exception as error:  # numpy parses a header that says what it likes, and raises many kinds
        reason = first_line(error)
        raise DataError(f"cannot read {input}: {reason}; give an array saved by numpy.save") from None
    inputs = session.get_inputs()
    if len(inputs) != 1:
        raise InputError(f"the model has {len(inputs)} inputs; run takes models with one, use the library for others")
    result = session.run(None, {inputs[0].name: array})[0]
    if output is not None:
        with atomic_path(output) as part:
            np.save(part, result)
        return Answer({"output": str(output)}, lambda: None)
    classes = [int(row.argmax()) for row in result.reshape(len(result), -1)]
    return Answer({"classes": classes}, _lines(map(str, classes)))


def check(
    bundle: Path, trust_kernels: bool, public_key: Path | None, metric: str | None, threads: int, **tolerances: Any
) -> Answer:
    """Check this device against a bundle. Figures: those of report.json and of the device."""
    report = check_bundle(
        bundle,
        num_threads=threads,
        metric=None if metric is None else import_function("--metric", metric),
        trust_kernels=trust_kernels,
        public_key=public_key,
        **{name: value for name, value in tolerances.items() if value is not None},
    )
    if report.unused_kernels is not None:
        _note(
            f"the bundle's kernels for {report.unused_kernels} were not used, for they are native code: "
            "--trust-kernels runs them, or --public-key FILE if their maker has signed the bundle"
        )
    if (missed := report.check.metric) and metric is None:
        _note(
            f"the metric {missed} was not measured here: give --metric {missed} in a folder from which it can be"
            " imported"
        )
    failures = report.check.failures
    return Answer(
        report.to_json(), lambda: _print_check(report), CheckFailed("; ".join(failures)) if failures else None
    )


def _print_check(report: DeviceReport) -> None:
    _print_tree(report.to_json())
    if not report.check.passed:
        print(verdict("accuracy check: FAILED", passed=False))
        return
    compared = report.check.agreement.oracle_integers_compared
    told = f"accuracy check passed: {report.check.samples} images, none of {compared:,} compared integers differs"
    print(verdict(told, passed=True))
    print(report.check.meaning)


def _print_tree(value: Mapping[str, Any], indent: str = "") -> None:
    for key, entry in value.items():
        if isinstance(entry, dict):
            if any(part not in (None, {}) for part in entry.values()):
                print(f"{indent}{key}")
                _print_tree(entry, indent + "  ")
        elif isinstance(entry, list):
            print(f"{indent}{key}: {', '.join(str(item) for item in entry) or 'none'}")
        elif entry not in (None, ""):  # else it is not known here, or there is no such thing
            print(f"{indent}{key}: {entry:.6g}" if isinstance(entry, float) else f"{indent}{key}: {entry}")


def classify(model: Path, image: Sequence[Path], top: int, threads: int) -> Answer:
    """Name what is on image files. Figures of each image: ``image`` and ``top``, labels and their probabilities."""
    shipped = picture(model)
    files = list(image) or [file for file in [shipped] if file]
    if not files:
        raise InputError(f"{model} comes with no image to try it on: name image files")
    answers = classify_files(_trusted(model, threads), files, top=top)

    def show() -> None:
        for answer in answers:
            print(f"{answer.path}: {', '.join(f'{label} {share:.1%}' for label, share in answer.top)}", flush=True)

    return Answer(({"image": str(answer.path), "top": answer.top} for answer in answers), show)


def info(model: Path, shape: str | None, threads: int) -> Answer:
    """Tell what runs packed, what float and why. Figures: ``steps``, ``self_test``, ``shapes`` and their ``memory``."""
    session = InferenceSession(model, num_threads=threads)
    steps = session.get_steps()
    told, failure = _self_test(session)
    shapes, memory = _memory(session, shape)

    def show() -> None:
        _print_info(session, steps)
        print(f"self-test: {told}")
        print(f"memory for {', '.join(f'{name} {list(sizes)}' for name, sizes in shapes.items())}: {memory}")

    use = memory if isinstance(memory, str) else {**vars(memory), "peak": memory.peak}
    figures = {"steps": [vars(step) for step in steps], "self_test": told, "shapes": shapes, "memory": use}
    return Answer(figures, show, failure)


def _memory(session: InferenceSession, given: str | None) -> tuple[dict[str, list[int]], MemoryUse | str]:
    """Return shapes, those of the option for the first input, and the memory for them, or why it is not known."""
    shapes = {info.name: [size if isinstance(size, int) else 1 for size in info.shape] for info in session.get_inputs()}
    if given is not None:
        shapes[next(iter(shapes))] = _numbers("--shape", given, "sizes, for example 1,3,224,224")
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


def profile(model: Path, runs: int, trace: Path | None) -> Answer:
    """Time the steps on random data. Figures: ``steps`` and their ``sum``, medians in microseconds."""
    session = InferenceSession(model)
    feeds = random_feeds(session)
    session.run(None, feeds)
    profiles = [session.profile(feeds) for _ in range(runs)]
    if trace is not None:
        write_json(trace, chrome_trace(profiles[-1]))
    sums = [summed(each) for each in profiles]
    steps = {name: float(np.median([each[name] for each in sums])) for name in sums[0]}
    figures = {"steps": steps, "sum": sum(steps.values())}
    width = max(len(name) for name in steps)
    rows = [*steps.items(), ("sum", figures["sum"])]
    return Answer(figures, _lines(f"{name:{width}} {microseconds:9.1f} µs" for name, microseconds in rows))


def bench(
    model: Path, peers: str, threads: str, runs: int, batch: int, float: Path | None, reference: Path | None
) -> Answer:
    """Time a model beside others. Figures: those of :class:`BenchReport`."""
    report = bench_model(
        model,
        peers=[peer.strip() for peer in peers.split(",") if peer.strip()],
        threads=_numbers("--threads", threads, "whole numbers, for example 1,2"),
        runs=runs,
        batch=batch,
        original=float,
        reference=reference,
    )
    return Answer(report.to_json(), lambda: _print_bench(report))


def _print_bench(report: BenchReport) -> None:
    width = max(len(row.engine) for row in report.results)
    accurate = any(row.accuracy is not None for row in report.results)
    print(f"{'engine':{width}} threads  median ms   p95 ms   p99 ms  best ms  times ours{'  accuracy' * accurate}")
    for row in report.results:
        spent = row.times
        right = "" if row.accuracy is None else f"  {row.accuracy:8.2%}"
        figures = f"{spent.median:10.3f} {spent.p95:8.3f} {spent.p99:8.3f} {spent.best:8.3f} {row.ratio:11.2f}"
        print(f"{row.engine:{width}} {row.threads:7} {figures}{right}")
    versions = ", ".join(f"{name} {version}" for name, version in report.environment["versions"].items())
    print(f"{report.environment['cpu']}; {versions}")


def _numbers(option: str, text: str, wanted: str) -> list[int]:
    try:
        return [int(number) for number in text.split(",")]
    except ValueError:
        raise InputError(f"{option} {text!r}: give {wanted}") from None


def _lines(lines: Iterable[str]) -> Callable[[], None]:
    def show() -> None:
        for line in lines:
            print(line)

    return show


def _note(text: str) -> None:
    print(text, file=sys.stderr)
