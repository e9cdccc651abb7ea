"""The accuracy check as a device runs it: a bundle in, one report out, with what the system tells of its state."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

from ..errors import DataError, MissingExtraError
from ..intake.archives import check_npz
from ..machine.library import cpu_class, cpu_classes, current_library, use_library
from ..metrics import Metric
from .accuracy import check
from .bundle import is_bundle, open_bundle
from .report import CheckReport
from .tolerances import Tolerances

__all__ = ["DeviceReport", "check_bundle", "sensors"]

_THERMAL = "class/thermal/thermal_zone*"
_FREQUENCY = "devices/system/cpu/cpu*/cpufreq/scaling_cur_freq"


@dataclass(frozen=True)
class DeviceReport:
    """The report of a check, and the state of the device on which it was made.

    ``bundle`` is the manifest (None: a plain folder, whose files have no digests), ``cpu_class`` that of this CPU,
    ``kernel_library`` the class of the library whose kernels ran (None: compiled here), ``jit`` whether kernels that
    were compiled here are loaded, ``sensors`` as :func:`sensors` gives them. ``unused_kernels`` is the class of the
    library in the bundle that this CPU could have run, had the caller trusted it.
    """

    check: CheckReport
    bundle: Mapping[str, Any] | None
    cpu_class: str | None
    kernel_library: str | None
    jit: bool
    sensors: Mapping[str, Mapping[str, float]]
    unused_kernels: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the keys of ``report.json`` and those of the device side by side, as plain values."""
        return {**self.check.to_json(), **{key: value for key, value in vars(self).items() if key != "check"}}


def check_bundle(
    path: str | PathLike[str],
    *,
    num_threads: int = 1,
    metric: Metric | None = None,
    trust_kernels: bool = False,
    public_key: str | PathLike[str] | None = None,
    **tolerances: float,
) -> DeviceReport:
    """Check a bundle (a folder or a ``.zip``, see :mod:`.bundle`) with :func:`.accuracy.check`.

    metric: a function of the user's, as :func:`.accuracy.check` takes it; none is ever taken from a bundle.
    trust_kernels: run the bundle's library for this class of CPU, if it has one. It is native code: trust only bundles
        of people whose programs you would run. Without it the device's own kernels are used.
    public_key: PEM file with the key that must have signed the bundle, see :mod:`.signing`; then its kernels are
        trusted too.
    tolerances: fields of :class:`Tolerances` that replace those of the bundle.

    Every digest is verified first. A plain folder with ``model.onnx`` and ``reference.npz`` is checked as well. Raises
    :class:`DataError` for anything else, and as :func:`.bundle.open_bundle` and :func:`.accuracy.check`.
    """
    folder = Path(path)
    changed: Mapping[str, Any] = tolerances
    unused = None
    if is_bundle(folder):
        with open_bundle(folder, public_key=public_key) as bundle:
            name = next((name for name in cpu_classes() if name in bundle.kernels), None)
            trusted = bundle.kernels[name] if name is not None and (trust_kernels or bundle.signed) else None
            unused = name if trusted is None else None
            allowed = replace(bundle.tolerances, **changed)
            with _own_kernels(unused) if trusted is None else use_library(trusted):
                report = check(bundle.model, bundle.reference, allowed, num_threads=num_threads, metric=metric)
                manifest, library = dict(bundle.manifest), current_library()
    elif (folder / "model.onnx").is_file():
        if public_key is not None:
            raise DataError(f"{folder} is not signed; make it with pipeline bundle --sign-key")
        check_npz(folder / "reference.npz")
        allowed = Tolerances(**changed)
        paths = folder / "model.onnx", folder / "reference.npz"
        report = check(*paths, allowed, num_threads=num_threads, metric=metric)
        manifest, library = None, current_library()
    else:
        raise DataError(f"{folder} is no bundle: give the folder or .zip that pipeline bundle made")
    return DeviceReport(
        report,
        bundle=manifest,
        cpu_class=cpu_class(),
        kernel_library=None if library is None else library.cpu_class,
        jit="llvmlite" in sys.modules,
        sensors=sensors(),
        unused_kernels=unused,
    )


@contextmanager
def _own_kernels(unused: str | None) -> Iterator[None]:
    """Run the kernels of LATENTBIT_KERNELS or compiled here; say what else there is where neither can be had."""
    try:
        yield
    except MissingExtraError as error:
        if unused is None:
            raise
        raise MissingExtraError(
            f"{error}; the bundle has kernels for {unused}, which --trust-kernels runs if you trust its maker"
        ) from None


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
