"""The run directory: its manifest ``run.json`` and its lock; :mod:`.paths` names the files that stages write.

::

    runs/NAME/run.json   resolved configuration, versions, seeds; for each stage sha256 in and out, and seconds
      1-train/  2-fold/  3-export/model.onnx  4-run/  5-check/report.json  report.html

The manifest is written whole or not at all, and a stage enters it only when its files are complete; so whatever moment
a process is killed at, the next one sees the truth. The lock belongs to the process and dies with it.
"""

import dataclasses
import fcntl
import os
import platform
import re
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from ..runtime.errors import ConfigError, RunDirError, StorageError
from ..runtime.files import make_folder, parse_json, remove_parts, sha256_file, write_json
from ..runtime.intake.typed import from_json
from . import config as configuration
from .sections import Config

__all__ = ["FORMAT_VERSION", "RunDir", "StageRecord"]

FORMAT_VERSION = 1
"""Version of the layout and of run.json; a folder of another version is refused."""

_OURS = re.compile(r"\..*|[1-9]-[a-z]+")
"""Names in a run directory: hidden files, and folders of stages."""

_PACKAGES = ("latentbit", "numpy", "onnx", "onnxruntime", "numba", "torch", "onnxscript", "scikit-learn")


@dataclass(frozen=True)
class StageRecord:
    """What the manifest says of one stage: ``inputs`` and ``outputs`` map paths in the run to their sha256.

    ``section`` is what it ran with. It is kept as values, not as a digest, so that a key that a later version adds
    (with its default) does not make an old run train again. ``date`` says when it ended, in UTC (empty in older runs).
    """

    section: Mapping[str, Any]
    finished: bool
    inputs: Mapping[str, str] = field(default_factory=dict)
    outputs: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    date: str = ""


@dataclass
class RunDir:
    """A run directory and its manifest; open one with :meth:`open`, write its manifest with :meth:`save`."""

    path: Path
    config: Config = field(default_factory=Config)
    stages: dict[str, StageRecord] = field(default_factory=dict)
    exists: bool = False

    @classmethod
    def open(cls, path: Path) -> "RunDir":
        """Read the run at ``path``; where there is none, return a new one with the default configuration.

        A folder that holds folders of stages alone is a run too: it was killed before its first manifest, or trained
        by ``python -m latentbit.training``, and the stage train goes on from what it finds.

        Raises :class:`RunDirError` if ``path`` is something else, of another version, or its manifest is corrupt.
        """
        manifest = path / "run.json"
        if not manifest.exists():
            if path.is_dir() and not all(_OURS.fullmatch(entry.name) for entry in path.iterdir()):
                raise RunDirError(f"{path} is no run directory (it has files but no run.json): name another with -o")
            if path.exists() and not path.is_dir():
                raise RunDirError(f"{path} is a file, not a run directory: name another with -o")
            return cls(path)
        try:
            value = parse_json(manifest.read_text(encoding="utf-8"))
        except OSError as error:
            raise RunDirError(f"cannot read {manifest}: {error.strerror}") from error
        except ValueError as error:
            raise RunDirError(f"{manifest} is corrupt ({error}): start a new run with -o, or delete {path}") from error
        return cls._parse(path, value)

    @classmethod
    def _parse(cls, path: Path, value: Any) -> "RunDir":
        manifest = path / "run.json"
        version = value.get("format_version") if isinstance(value, dict) else None
        if version != FORMAT_VERSION:
            raise RunDirError(
                f"{manifest} has format version {version!r}, this latentbit reads {FORMAT_VERSION}:"
                " start a new run with -o, or use the latentbit that wrote it"
            )
        try:
            config = configuration.from_mapping(value["config"], where=str(manifest))
            stages = {name: from_json(StageRecord, record, name) for name, record in value["stages"].items()}
        except (KeyError, TypeError, AttributeError, ConfigError) as error:
            raise RunDirError(f"{manifest} is corrupt ({error}): start a new run with -o, or delete {path}") from error
        return cls(path, config, stages, exists=True)

    def save(self) -> None:
        """Write the manifest. Raises :class:`StorageError`."""
        write_json(
            self.path / "run.json",
            {
                "format_version": FORMAT_VERSION,
                "config": configuration.to_mapping(self.config),
                "seeds": {"train": self.config.train.seed},
                "versions": _versions(),
                "stages": {name: dataclasses.asdict(record) for name, record in self.stages.items()},
            },
        )
        self.exists = True

    def digests(self, paths: Sequence[str]) -> dict[str, str | None]:
        """Return the sha256 of files of the run by their relative path, None where one is missing."""
        return {name: sha256_file(self.path / name) if (self.path / name).is_file() else None for name in paths}

    def prepare(self, folder: str, *, keep: bool) -> None:
        """Make the folder of a stage ready: empty, or with ``keep`` only rid of half-written files.

        Raises :class:`StorageError`.
        """
        place = self.path / folder
        try:
            if not keep and place.exists():
                shutil.rmtree(place)
        except OSError as error:
            raise StorageError(f"cannot remove {place}: {error.strerror}") from error
        make_folder(place)
        for each in (place, self.path):
            remove_parts(each)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the run for this process. Raises :class:`RunDirError` if another process holds it."""
        make_folder(self.path)
        try:
            handle = os.open(self.path / ".lock", os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise StorageError(f"cannot write {self.path}: {error.strerror}: choose another folder") from error
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                owner = os.pread(handle, 32, 0).decode(errors="replace").strip() or "unknown"
                raise RunDirError(
                    f"{self.path} is in use by process {owner}: wait for it, or name another run with -o"
                ) from error
            os.truncate(handle, 0)
            os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
            yield
        finally:
            os.close(handle)  # and with it the lock


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "platform": sys.platform, "machine": platform.machine()}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue  # a device has no torch, and says so by leaving it out
    return found
