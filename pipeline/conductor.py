"""The conductor: which stages have to run, in which order, and what the manifest says afterwards.

A stage is *fresh* when its section of the configuration, the files it reads, the user's code that it runs and the
files it wrote all have the digests that the manifest holds; then nothing of it is imported. Before a stage starts, the
manifest says that it is running, and with which section. So a stage that was killed is known, and its folder is kept
for it to resume, or emptied if the section changed.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from ..runtime.errors import ConfigError, RunDirError
from .progress import StageProgress
from .rundir import RunDir, StageRecord
from .sections import Config
from .stages import Stage

__all__ = ["Plan", "conduct", "plan_stages"]

_CODE = "module "
"""Begins the entries of the user's code among the inputs of a stage in the manifest."""


@dataclass(frozen=True)
class Plan:
    """One stage and why it has to run; ``reason`` is empty when it is fresh."""

    stage: Stage
    reason: str


def conduct(
    run: RunDir,
    stages: Sequence[Stage],
    config: Config,
    progress: StageProgress,
    *,
    first: str,
    last: str,
    force: bool = False,
) -> None:
    """Bring the stages ``first`` to ``last`` of ``run`` up to date with ``config``; ``stages`` are all there are.

    ``force`` runs them even when they are fresh. A stage before ``first`` must be complete.
    A stage that has to run looks at its configuration first: what is refused then has left no trace.
    Raises :class:`RunDirError` if it is not, and whatever a stage raises.
    """
    names = [stage.name for stage in stages]
    begin, end = names.index(first), names.index(last)
    stored, run.config = run.config, config
    for stage in stages[begin : end + 1]:
        if force or staleness(run, stage):
            stage.verify(run)
    if not run.exists:
        _require(run, stages[:begin])  # before the lock, which would leave a folder behind
    with run.lock():
        _require(run, stages[:begin])
        for stage in stages[begin : end + 1]:
            reason = "forced" if force else staleness(run, stage)
            if not reason:
                progress.fresh(stage.name)
                continue
            _perform(run, stage, progress, reason)
        if run.exists and config != stored:
            run.save()  # where all is fresh, too: what changed may be where the user's code lies


def _require(run: RunDir, stages: Sequence[Stage]) -> None:
    """Raise :class:`RunDirError` if one of these stages is not complete."""
    for stage in stages:
        if reason := staleness(run, stage):
            raise RunDirError(f"stage {stage.name} of {run.path} is not complete ({reason}): start at it, or earlier")


def plan_stages(run: RunDir, stages: Sequence[Stage]) -> list[Plan]:
    """Return every stage with the reason it is not fresh."""
    return [Plan(stage, staleness(run, stage)) for stage in stages]


def staleness(run: RunDir, stage: Stage) -> str:
    """Return why ``stage`` has to run, or an empty string when it is fresh."""
    record = run.stages.get(stage.name)
    if record is None:
        return "not done yet"
    if not record.finished:
        return "it was interrupted"
    if not _same_section(run, stage, record):
        return f"its section [{stage.name}] changed"
    return (
        _changed(run, stage.inputs, record.inputs)
        or _code_changed(run, stage, record)
        or _changed(run, stage.outputs, record.outputs)
    )


def _same_section(run: RunDir, stage: Stage, record: StageRecord) -> bool:
    now = stage.section(run)
    # A key that an older version did not know had, in effect, what is its default today.
    then = {**stage.section(RunDir(run.path)), **record.section}
    return all(then[key] == value for key, value in now.items())


def _changed(run: RunDir, paths: Sequence[str], recorded: Mapping[str, str]) -> str:
    for path, digest in run.digests(paths).items():
        if digest is None:
            return f"{path} is missing"
        if recorded.get(path) != digest:
            return f"{path} changed"
    return ""


def _code(run: RunDir, stage: Stage) -> dict[str, str]:
    """Return the digests of the user's code that a stage runs, under the names that the manifest has for them."""
    digests = run.config.train.source_digests(*stage.functions) if stage.functions else {}
    return {f"{_CODE}{module}": digest for module, digest in digests.items()}


def _code_changed(run: RunDir, stage: Stage, record: StageRecord) -> str:
    recorded = {name: digest for name, digest in record.inputs.items() if name.startswith(_CODE)}
    try:
        now = _code(run, stage)
    except ConfigError as error:
        return str(error)
    changed = [name for name in sorted({*now, *recorded}) if now.get(name) != recorded.get(name)]
    return f"{changed[0]} changed" if changed else ""


def _perform(run: RunDir, stage: Stage, progress: StageProgress, reason: str) -> None:
    section = stage.section(run)
    record = run.stages.get(stage.name)
    interrupted = record is None or (not record.finished and _same_section(run, stage, record))
    resumable = interrupted and reason != "forced"
    run.prepare(stage.folder, keep=resumable or stage.folder == ".")
    inputs = run.digests(stage.inputs)
    if missing := [path for path, digest in inputs.items() if digest is None]:
        raise RunDirError(f"stage {stage.name} needs {missing[0]} in {run.path}: run the stage before it")
    code = _code(run, stage)
    run.stages[stage.name] = StageRecord(section, finished=False)
    run.save()
    started = time.perf_counter()
    with progress.stage(stage.name, reason) as step:
        stage.perform(run, step)
    outputs = run.digests(stage.outputs)
    if missing := [path for path, digest in outputs.items() if digest is None]:
        raise AssertionError(f"stage {stage.name} did not write {missing[0]}")
    run.stages[stage.name] = StageRecord(
        section,
        finished=True,
        inputs={path: digest for path, digest in inputs.items() if digest} | code,
        outputs={path: digest for path, digest in outputs.items() if digest},
        seconds=round(time.perf_counter() - started, 3),
        date=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    run.save()
