"""Compile the kernels ahead of time: numba's IR -> one object per class of CPU -> one shared library, for any target.

1. A process of its own imports the kernel modules with numba's optimiser off and writes their plain LLVM IR: nothing in
   it depends on the CPU of the machine that builds.
2. :mod:`.objects` makes one object file of it, position-independent, optimised by LLVM for the target.
3. A linker makes the library.

The linker is that of ``ziglang`` (extra ``kernels``), which links for every target; ``cc`` does for this machine.
"""

import importlib
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from ..errors import ConfigError, MissingExtraError, StorageError
from ..files import atomic_path, make_folder, scratch_folder
from ..machine.library import CLASSES, IDENTITY, sealed, source_digest
from ..machine.objects import emit_object, kernel_ir
from ..terminal import Step, no_progress
from .dense import SIGNED
from .registry import KERNELS, can_project
from .sums import SUMS

__all__ = ["build_libraries", "write_ir"]

_X86, _ARM = ("x86_64-unknown-linux-gnu", "x86_64-linux-gnu"), ("aarch64-unknown-linux-gnu", "aarch64-linux-gnu")
_TARGETS = {
    "x86-64-v4": (*_X86, "x86-64-v4", "+avx512vpopcntdq,+avx512vnni,+avx512vbmi"),
    "x86-64-v3": (*_X86, "x86-64-v3", ""),
    "x86-64-v2": (*_X86, "x86-64-v2", ""),
    "aarch64-dotprod": (*_ARM, "generic", "+dotprod"),
    "aarch64": (*_ARM, "generic", ""),
}
"""Class -> LLVM's triple, the linker's name of the target, LLVM's CPU and what it has besides."""


def build_libraries(folder: Path, classes: Sequence[str], *, progress: Step = no_progress) -> list[Path]:
    """Write ``folder/CLASS.so`` for each class of CPU and return the paths; ``progress`` is told which is compiled.

    Raises :class:`ConfigError` for an unknown class, :class:`MissingExtraError` where no linker is found.
    """
    for name in classes:
        if name not in CLASSES:
            raise ConfigError(f"there is no class of CPU {name!r}: known are {', '.join(CLASSES)}")
    make_folder(folder, mode=0o755)  # what others can write is not loaded again
    paths = []
    with scratch_folder("latentbit-kernels-") as scratch:
        progress(0, len(classes), "reads the kernels")
        write_ir(scratch)
        for done, name in enumerate(classes):
            progress(done, len(classes), f"compiles for {name}")
            target = folder / f"{name}.so"
            with atomic_path(target, mode=0o644) as part:
                shared = _link(name, _compile(name, scratch), scratch)
                part.write_bytes(sealed(shared.read_bytes()))
            paths.append(target)
    return paths


def write_ir(folder: Path, modules: Sequence[str] = ("[!_]*",)) -> None:
    """Write ``MODULE.SYMBOL.ll`` for every kernel of these modules of this folder, which patterns name.

    It takes a process of its own, one that has not compiled the kernels yet.
    """
    environment = {**os.environ, "NUMBA_OPT": "0"}
    code = f"from {__name__} import _emit; import sys; _emit(*sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder), *modules],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise StorageError(
            f"the kernels cannot be compiled here: {(done.stderr.strip() or 'no message').splitlines()[-1]}"
        )


def _emit(folder: str, *modules: str) -> None:
    for path in sorted(path for name in modules for path in Path(__file__).parent.glob(f"{name}.py")):
        for symbol, ir in kernel_ir(importlib.import_module(f".{path.stem}", __package__)).items():
            Path(folder, f"{path.stem}.{symbol}.ll").write_text(ir)


def _modules_beyond(name: str) -> set[str]:
    """Return the kernel modules that need more than this class of CPU has."""
    features = CLASSES[name][1]
    beyond = {kernel.module for kernel in (*KERNELS, *SUMS, *SIGNED) if not kernel.features <= features}
    return beyond if can_project(features) else beyond | {"linear", "shortcut"}


def _compile(name: str, folder: Path) -> bytes:
    """Return the object file of all kernels that this class of CPU can run."""
    import llvmlite.binding as llvm

    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    triple, _, cpu, features = _TARGETS[name]
    machine = llvm.Target.from_triple(triple).create_target_machine(
        cpu=cpu, features=features, opt=3, reloc="pic", codemodel="default"
    )
    files = [file for file in sorted(folder.glob("*.ll")) if file.name.split(".")[0] not in _modules_beyond(name)]
    kernels = {file.name.split(".")[1]: file.read_text() for file in files}
    return emit_object(kernels, machine, 3, {IDENTITY: f"{name} {source_digest()}"})


def _link(name: str, code: bytes, folder: Path) -> Path:
    source, target = folder / f"{name}.o", folder / f"{name}.so"
    source.write_bytes(code)
    options = ["-shared", "-nostdlib", "-s", "-o", str(target), str(source)]
    if importlib.util.find_spec("ziglang") is not None:
        cache = {"ZIG_LOCAL_CACHE_DIR": str(folder / "zig"), "ZIG_GLOBAL_CACHE_DIR": str(folder / "zig")}
        command = [sys.executable, "-m", "ziglang", "cc", "-target", _TARGETS[name][1], *options]
    elif CLASSES[name][0] == platform.machine() and shutil.which("cc"):
        cache, command = {}, ["cc", *options]
    else:
        raise MissingExtraError(f"linking kernels for {name} needs ziglang: pip install 'latentbit[kernels]'")
    done = subprocess.run(command, env={**os.environ, **cache}, capture_output=True, text=True, check=False)
    if done.returncode:
        raise StorageError(f"linking {name}.so failed: {(done.stderr.strip() or 'no message').splitlines()[-1]}")
    return target
