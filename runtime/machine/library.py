"""Kernels compiled ahead of time, as a device finds them: with a library neither numba nor llvmlite is imported.

A library is an ELF shared object for one class of CPU, written by :mod:`..kernels.build`, followed by the sha256 of
itself (the loader of the system ignores what stands behind an ELF file). It names its class and the digest of the
kernels' sources: one that is cut, altered, of other sources or for another CPU is refused by name, never used.
"""

import ctypes
import hashlib
import os
import platform
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ..errors import ModelError
from .cpu import cpu_features
from .ownership import distrust

__all__ = [
    "CLASSES",
    "IDENTITY",
    "VARIABLE",
    "Library",
    "cpu_class",
    "cpu_classes",
    "current_library",
    "kernel_sources",
    "load_library",
    "sealed",
    "source_digest",
    "usable_features",
    "use_library",
]

_V2 = frozenset({"popcnt", "sse4_1", "sse4_2", "ssse3"})
_V3 = _V2 | {"abm", "avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe"}
_V4 = _V3 | {"avx512bw", "avx512cd", "avx512dq", "avx512f", "avx512vl"}
CLASSES = {
    "x86-64-v4": ("x86_64", _V4 | {"avx512_vnni", "avx512_vpopcntdq", "avx512vbmi"}),
    "x86-64-v3": ("x86_64", _V3),
    "x86-64-v2": ("x86_64", _V2),
    "aarch64-dotprod": ("aarch64", frozenset({"asimd", "asimddp"})),
    "aarch64": ("aarch64", frozenset({"asimd"})),
}
"""Class -> machine and the features a CPU of it has, the best first: a CPU belongs to the first that fits.

They are all that the compiler may use for it: the levels of the x86-64 psABI. x86-64-v4 is its level with the
population counts, dot products and byte permutes that came after it: Intel's since Ice Lake, AMD's since Zen 4.
aarch64-dotprod has the dot products of ARMv8.2: Cortex-A55, A75, A76 and all after them.
"""

VARIABLE = "LATENTBIT_KERNELS"
"""Environment variable: a library, or a folder with CLASS.so in it."""

IDENTITY = "latentbit_library"
"""Symbol of the string ``CLASS DIGEST`` in a library."""

_MAGIC = b"latentbit\n"
_SOURCES = ("kernels/*.py", "layout/*words.py", "machine/jit.py", "machine/objects.py")


@dataclass(frozen=True)
class Library:
    """A verified library, loaded into this process."""

    path: Path
    cpu_class: str
    handle: ctypes.CDLL

    def address(self, symbol: str) -> int:
        """Return the address of a kernel. Raises :class:`ModelError` if it is not in the library."""
        try:
            function = getattr(self.handle, symbol)
        except AttributeError:
            raise ModelError(
                f"{self.path} has no kernel {symbol}: build it again with pipeline build-kernels"
            ) from None
        return ctypes.cast(function, ctypes.c_void_p).value or 0


_chosen: list[Library | None] = []


@contextmanager
def use_library(path: str | os.PathLike[str] | None) -> Iterator[None]:
    """Run the kernels of this library (None: compile them here) in the sessions that are opened within the block.

    Raises :class:`ModelError` for a library that does not fit.
    """
    before = list(_chosen)
    _chosen[:] = [None if path is None else load_library(path)]
    try:
        yield
    finally:
        _chosen[:] = before


def current_library() -> Library | None:
    """Return the library to use now: that of :func:`use_library`, else of the environment variable, else None."""
    if not _chosen:
        _chosen.append(_from_environment())
    return _chosen[0]


def _from_environment() -> Library | None:
    if not (place := os.environ.get(VARIABLE)):
        return None
    path = Path(place)
    if not path.is_dir():
        return _trusted(path)
    for name in cpu_classes():
        if (path / f"{name}.so").is_file():
            return _trusted(path / f"{name}.so")
    raise ModelError(f"{VARIABLE}={path} holds no library for this CPU ({cpu_class() or 'of no known class'})")


def _trusted(file: Path) -> Library | None:
    """Load a library that nobody else can have written; another one is not used, and a warning says so."""
    try:
        for path in (file.resolve().parent, file):
            if (reason := distrust(path)) is not None:
                warnings.warn(f"{VARIABLE} is not used: {path} {reason}", RuntimeWarning, stacklevel=2)
                return None
    except OSError as error:
        raise ModelError(f"cannot read the kernel library {file}: {error.strerror}") from None
    return load_library(file)


@cache
def cpu_classes() -> tuple[str, ...]:
    """Return the classes whose libraries this CPU can run, the best first."""
    names = [name for name, (machine, features) in CLASSES.items() if platform.machine() == machine]
    return tuple(name for name in names if CLASSES[name][1] <= cpu_features())


def cpu_class() -> str | None:
    """Return the class of this CPU, None if it is of none."""
    return next(iter(cpu_classes()), None)


def usable_features() -> frozenset[str]:
    """Return the features that kernels may ask for now: those of the library's class, else those of the CPU."""
    library = current_library()
    return cpu_features() if library is None else CLASSES[library.cpu_class][1]


def load_library(path: str | os.PathLike[str]) -> Library:
    """Verify and load a library. Raises :class:`ModelError`."""
    file = Path(path)
    _verify(file)
    try:
        handle = ctypes.CDLL(str(file.resolve()))
        identity = ctypes.string_at(ctypes.addressof(ctypes.c_char.in_dll(handle, IDENTITY))).decode()
    except (OSError, ValueError) as error:
        raise ModelError(f"{file} cannot be loaded here ({error}): this CPU needs {cpu_class()}.so") from None
    name, _, digest = identity.partition(" ")
    if name not in cpu_classes():
        raise ModelError(f"{file} is for {name}, this CPU is {cpu_class()}: use its own library")
    if digest != source_digest():
        raise ModelError(f"{file} was built from other kernel sources than these: build it again")
    return Library(file.resolve(), name, handle)


def sealed(data: bytes) -> bytes:
    """Return a file's bytes with the digest that :func:`_unsealed` verifies behind them."""
    return data + _MAGIC + hashlib.sha256(data).digest()


def _unsealed(data: bytes) -> bytes | None:
    """Return what :func:`sealed` was given, None if it was cut or altered since."""
    body, magic, digest = data[: -len(_MAGIC) - 32], data[-len(_MAGIC) - 32 : -32], data[-32:]
    return body if magic == _MAGIC and hashlib.sha256(body).digest() == digest else None


def _verify(file: Path) -> None:
    try:
        data = file.read_bytes()
    except OSError as error:
        raise ModelError(f"cannot read the kernel library {file}: {error.strerror}") from None
    if _unsealed(data) is None:
        raise ModelError(f"{file} is no whole kernel library: it was cut or altered; build or copy it again")


@cache
def source_digest() -> str:
    """Return the sha256 of the sources that make the kernels: a library and a cache belong to one state of them."""
    digest = hashlib.sha256()
    for path in kernel_sources():
        digest.update(path.read_bytes())
    return digest.hexdigest()


def kernel_sources() -> list[Path]:
    """Return the files that make the machine code of the kernels: tests hold the imports of the kernels to them."""
    runtime = Path(__file__).parents[1]
    return sorted(path for pattern in _SOURCES for path in runtime.glob(pattern))
