"""The accuracy check as a device runs it: a bundle in, one report out, with what the system tells of its state."""

import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from os import PathLike
from pathlib import Path
from typing import Any

from ..errors import DataError
from ..machine.library import cpu_class, cpu_classes, current_library, use_library
from .accuracy import check
from .bundle import Bundle, is_bundle, open_bundle

__all__ = ["check_bundle", "sensors"]

_THERMAL = "class/thermal/thermal_zone*"
_FREQUENCY = "devices/system/cpu/cpu*/cpufreq/scaling_cur_freq"


def check_bundle(path: str | PathLike[str], *, num_threads: int = 1, **tolerances: float) -> dict[str, Any]:
    """Check a bundle (a folder or a ``.zip``, see :mod:`.bundle`) and return the report of :func:`.accuracy.check`.

    tolerances: keywords of ``check`` that replace those of the bundle. Every digest is verified first. A plain folder
    with ``model.onnx`` and ``reference.npz`` is checked as well; its files have no digests, and the report says so.
    Kernels come from the bundle's library for this class of CPU, if it has one. The report gains ``bundle`` (its
    manifest, or null), ``cpu_class``, ``kernel_library`` (its class, or null), ``jit`` (whether kernels compiled
    here were loaded) and ``sensors``.
    """
    folder = Path(path)
    if is_bundle(folder):
        with open_bundle(folder) as bundle, _kernels_of(bundle):
            wanted: Mapping[str, Any] = {**bundle.tolerances, **tolerances}
            report = check(bundle.model, bundle.reference, num_threads=num_threads, **wanted)
            report["bundle"] = dict(bundle.manifest)
            library = current_library()
    elif (folder / "model.onnx").is_file():
        given: Mapping[str, Any] = tolerances
        report = check(folder / "model.onnx", folder / "reference.npz", num_threads=num_threads, **given)
        report["bundle"] = None
        library = current_library()
    else:
        raise DataError(f"{folder} is no bundle: give the folder or .zip that pipeline bundle made")
    report["cpu_class"] = cpu_class()
    report["kernel_library"] = None if library is None else library.cpu_class
    report["jit"] = "llvmlite" in sys.modules
    report["sensors"] = sensors()
    return report


def _kernels_of(bundle: Bundle) -> AbstractContextManager[None]:
    for name in cpu_classes():
        if name in bundle.kernels:
            return use_library(bundle.kernels[name])
    return nullcontext()  # LATENTBIT_KERNELS, or compiled here


def sensors(system: Path = Path("/sys")) -> dict[str, dict[str, float]]:
    """Return what the system tells: ``celsius`` by thermal zone, ``mhz`` by CPU; empty where it tells nothing."""
    celsius = {}
    for zone in sorted(system.glob(_THERMAL)):
        name, value = _line(zone / "type"), _line(zone / "temp")
        if value.lstrip("-").isdigit():
            celsius[f"{zone.name} {name}".strip()] = int(value) / 1000
    mhz = {}
    for file in sorted(system.glob(_FREQUENCY)):
        value = _line(file)
        if value.isdigit():
            mhz[file.parents[1].name] = int(value) / 1000
    return {"celsius": celsius, "mhz": mhz}


def _line(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""  # a sensor that is there but does not answer, as some do
