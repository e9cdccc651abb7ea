"""``pipeline bundle``: what a device needs of a finished run, in one folder or zip file (runtime/proof/packing.py)."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..runtime.errors import InputError
from ..runtime.metrics import figures
from ..runtime.terminal import Step, no_progress
from .paths import MODEL, REFERENCE
from .rundir import RunDir
from .sampling import stratified

__all__ = ["make_bundle"]


def make_bundle(
    run: RunDir,
    output: Path,
    *,
    samples: int | None = None,
    targets: Sequence[str] = (),
    sign_key: Path | None = None,
    progress: Step = no_progress,
) -> Path:
    """Write the bundle of a run whose stages up to export are complete, to a folder or, if it ends so, a ``.zip``.

    samples: reference images to take, the same share of every class; None: all, at most 1,000.
    targets: classes of CPU to compile kernels for, see :data:`latentbit.runtime.machine.library.CLASSES`.
    sign_key: PEM file with the private key to sign it with, see :mod:`latentbit.runtime.proof.signing`.
    progress: told which kernels are compiled.
    The figures of ``train.metric`` on the recorded answers go with it.
    Raises :class:`InputError` if the run has fewer samples, :class:`StorageError` if ``output`` is in the way.
    """
    from ..runtime.proof.packing import make_bundle as pack
    from ..runtime.proof.reference import load_reference

    reference = load_reference(run.path / REFERENCE)
    count = len(reference.inputs)
    if samples is None:
        samples = min(count, 1000)
    if samples > count:
        raise InputError(
            f"the run's reference holds {count} images, not {samples}: take fewer with --samples,"
            f" or record more with pipeline fold {run.path} -s fold.samples={samples}"
        )
    taken = reference.take(stratified(reference.labels, samples, of=count))
    if name := run.config.train.metric:
        metric = run.config.train.import_function("metric")
        taken = replace(taken, metrics=figures(name, metric, taken.outputs, taken.truth))
    return pack(
        run.path / MODEL,
        taken,
        output,
        tolerances=run.config.check,
        targets=targets,
        name=run.path.name,
        sign_key=sign_key,
        progress=progress,
    )
