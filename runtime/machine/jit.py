"""Kernels compiled here: a module's code as one object file in a cache, loaded by llvmlite alone.

::

    first use    kernel module -> numba compiles it -> LLVM IR -> object file, sealed -> cache
    every use    object file, verified -> llvmlite's loader -> addresses

A process that finds the object imports no numba, whose registries alone would take half of its start and a third of its
memory. An object belongs to one state of the kernels' sources, to one CPU and one version of the compilers; one that is
cut or altered is made anew. :mod:`.cache` says who may have written it.
"""

import hashlib
import importlib
import os
import threading
from functools import cache
from importlib.metadata import version
from typing import Any

from ..errors import MissingExtraError
from .cache import keep_object, kept_object
from .cpu import cpu_features
from .objects import emit_object, kernel_ir

__all__ = ["compiled_for", "kernel_address"]

_RELATED = {"cortex-a76": "neoverse-n1", "cortex-a77": "neoverse-n1", "cortex-a78": "neoverse-n1"}
"""Core -> the related core that LLVM has a model of. It takes these for an A57, whose order of instructions costs tbl a
tenth (docs/performance.md)."""

_lock = threading.RLock()
"""Held while a module is compiled or loaded; a signal handler, and a forked process, may need a kernel meanwhile."""


def kernel_address(module: str, symbol: str) -> int:
    """Return the address of a kernel of ``kernels/MODULE.py``; a first call loads or compiles the module.

    Raises :class:`MissingExtraError` where numba or llvmlite is not installed.
    """
    with _lock:
        address: int = _engine(module).get_function_address(symbol)
    return address


def _renew_lock() -> None:
    global _lock
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)


@cache
def _engine(module: str) -> Any:
    """Return llvmlite's engine that holds the kernels of a module."""
    try:
        llvm: Any = importlib.import_module("llvmlite.binding")
        machine = _machine()
        name = f"{module}-{compiled_for()}.o"
        data = kept_object(name)
        if data is None:
            data = emit_object(kernel_ir(importlib.import_module(f"..kernels.{module}", __package__)), machine, 0, {})
            keep_object(name, data)
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.partition(".")[0] not in ("llvmlite", "numba"):
            raise
        raise MissingExtraError(
            "kernels are compiled by numba, which is not installed: pip install numba, or name a library for "
            "this CPU in LATENTBIT_KERNELS"
        ) from None
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
    engine.add_object_file(llvm.ObjectFileRef.from_data(data))
    engine.finalize_object()
    return engine


def _machine() -> Any:
    """Return a target machine for this CPU and llvmlite's loader."""
    llvm: Any = importlib.import_module("llvmlite.binding")
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    target = llvm.Target.from_triple(llvm.get_process_triple())
    name = llvm.get_host_cpu_name()
    return target.create_target_machine(cpu=_RELATED.get(name, name), features=_features(), opt=3, jit=True)


def _features() -> str:
    """Return what LLVM is told that this CPU has: what it finds, and ARM's dot products, for which kernels may ask.

    On ARM it reads /proc/cpuinfo, which some containers hide and an emulator does not write.
    """
    llvm: Any = importlib.import_module("llvmlite.binding")
    found: str = llvm.get_host_cpu_features().flatten()
    return f"{found},+dotprod".lstrip(",") if "asimddp" in cpu_features() else found


@cache
def compiled_for() -> str:
    """Return a digest of what compiled kernels depend on besides their sources: the CPU and the compilers."""
    llvm: Any = importlib.import_module("llvmlite.binding")
    parts = (llvm.get_host_cpu_name(), _features(), version("llvmlite"), version("numba"))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
