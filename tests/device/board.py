"""An emulated aarch64 board: Debian's Python for arm64 and the aarch64 wheels, run by qemu's user emulation.

Nothing is installed on this machine. Debian packages (qemu among them) are downloaded with apt's own client into a
cache, with package lists of its own, and unpacked there; wheels come from pip. What cannot be had is a
:class:`NoBoardError` with the reason. Emulation shows that answers are right, never how fast a board is.
"""

import glob
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Board", "NoBoardError", "build_board", "old_x86"]

# What the Debian package python3.11 for arm64 and the wheels link against.
ROOT_PACKAGES = (
    *("libc6", "libgcc-s1", "libstdc++6", "zlib1g", "libexpat1", "libssl3", "libffi8", "liblzma5", "libbz2-1.0"),
    *("libsqlite3-0", "libuuid1", "libncursesw6", "libtinfo6", "libreadline8", "libgomp1", "libcrypt1"),
    *("python3.11-minimal", "libpython3.11-minimal", "libpython3.11-stdlib"),
)
# onnxruntime 1.32 aborts under qemu 7.2 while it reads the CPU topology; 1.22.1 does not.
WHEELS = ("numpy==2.4.6", "numba==0.68.1", "llvmlite==0.50.0", "onnx==1.23.2", "onnxruntime==1.22.1")
PLATFORMS = ("manylinux_2_28", "manylinux_2_27", "manylinux_2_26", "manylinux_2_17", "manylinux2014")


class NoBoardError(Exception):
    """The board cannot be built here; the message says why."""


@dataclass(frozen=True)
class Board:
    """A Python of another machine: the command that starts it, and the folders on its path."""

    command: tuple[str, ...]
    path: tuple[Path, ...] = ()

    def python(
        self,
        *arguments: str,
        extra: Sequence[Path] = (),
        hidden: Sequence[str] = (),
        settings: Mapping[str, str] | None = None,
    ) -> "subprocess.CompletedProcess[str]":
        """Run it; ``extra`` folders come first on its path, imports of ``hidden`` names fail, ``settings`` are set."""
        with tempfile.TemporaryDirectory() as scratch:
            for name in hidden:
                (Path(scratch) / f"{name}.py").write_text(f"raise ImportError('{name} is hidden')\n")
            environment = {
                "PATH": os.environ.get("PATH", ""),
                "HOME": scratch,
                "PYTHONPATH": os.pathsep.join(map(str, (scratch, *extra, *self.path))),
                "PYTHONDONTWRITEBYTECODE": "1",
                "OMP_NUM_THREADS": "1",
                **(settings or {}),
            }
            command = [*self.command, *arguments]
            return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=1200)


def old_x86() -> Board:
    """Return this Python on an emulated x86-64 of 2008, without AVX. Raises :class:`NoBoardError`."""
    return Board((str(emulator("x86_64")), "-cpu", "Nehalem", sys.executable))


def cache_folder() -> Path:
    """Return where downloads are kept: outside the checkout, below XDG_CACHE_HOME."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "latentbit" / "boards"


def build_board() -> Board:
    """Return the board, built on first use. Raises :class:`NoBoardError`."""
    key = hashlib.sha256(repr((ROOT_PACKAGES, WHEELS, PLATFORMS)).encode()).hexdigest()[:12]
    folder = cache_folder() / f"aarch64-{key}"
    if not folder.is_dir():
        with _in_one_piece(folder) as part:
            _unpack_debian(part / "root", "arm64", ROOT_PACKAGES)
            _unpack_wheels(part / "packages")
    root = folder / "root"
    command = (str(emulator("aarch64")), "-L", str(root), str(root / "usr/bin/python3.11"))
    return Board(command, (folder / "packages",))


def emulator(machine: str) -> Path:
    """Return the user emulator of ``machine`` (aarch64, x86_64): the installed one, else Debian's in the cache."""
    name = f"qemu-{machine}-static"
    if found := shutil.which(name):
        return Path(found)
    folder = cache_folder() / "qemu"
    if not folder.is_dir():
        with _in_one_piece(folder) as part:
            _unpack_debian(part, _run("dpkg", "--print-architecture").strip(), ("qemu-user-static",))
    return folder / "usr/bin" / name


class _in_one_piece:  # noqa: N801 - a context manager that reads like a phrase
    """Yield ``folder``.part; renamed at a good end, removed at a bad one: the cache holds whole folders alone."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.part = folder.with_name(f"{folder.name}.{os.getpid()}.part")

    def __enter__(self) -> Path:
        self.part.mkdir(parents=True)
        return self.part

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is None and not self.folder.exists():
            self.part.rename(self.folder)
        shutil.rmtree(self.part, ignore_errors=True)


def _unpack_debian(target: Path, architecture: str, packages: Sequence[str]) -> None:
    """Download Debian packages of an architecture, with lists of their own, and unpack them into ``target``."""
    for tool in ("apt-get", "dpkg"):
        if shutil.which(tool) is None:
            raise NoBoardError(f"the emulated board is made of Debian packages, and there is no {tool} here")
    with tempfile.TemporaryDirectory() as scratch:
        lists, archives = Path(scratch, "lists/partial"), Path(scratch, "archives/partial")
        for folder in (lists, archives):
            folder.mkdir(parents=True)
        os.chmod(scratch, 0o755)  # apt drops its rights for downloads
        Path(scratch, "status").touch()
        options = [
            f"-oAPT::Architecture={architecture}",
            f"-oAPT::Architectures={architecture}",
            f"-oDir::State::Lists={lists.parent}",
            f"-oDir::State::Status={scratch}/status",
            f"-oDir::Cache={scratch}",
            "-oAPT::Sandbox::User=root",
            "-oDebug::NoLocking=1",
        ]
        # A source that cannot be reached is no matter as long as the packages can be had.
        subprocess.run(["apt-get", *options, "-q", "update"], capture_output=True, check=False)
        downloads = Path(scratch, "downloads")
        downloads.mkdir()
        _run("apt-get", *options, "-q", "download", *packages, folder=downloads)
        target.mkdir(parents=True, exist_ok=True)
        for file in sorted(glob.glob(f"{downloads}/*.deb")):
            _run("dpkg", "-x", file, str(target))


def _unpack_wheels(target: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        platforms = [option for name in PLATFORMS for option in ("--platform", f"{name}_aarch64")]
        kinds = ["--only-binary=:all:", "--implementation", "cp", "--python-version", "3.11", *platforms]
        _run(sys.executable, "-m", "pip", "download", "-q", "-d", scratch, *kinds, *WHEELS)
        for wheel in sorted(glob.glob(f"{scratch}/*.whl")):
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(target)


def _run(*command: str, folder: Path | None = None) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
        raise NoBoardError(f"{command[0]} failed: {last}")
    return done.stdout
