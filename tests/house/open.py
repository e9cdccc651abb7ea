"""OPEN: what the laws of this folder still excuse, each with its reason.

It is the only such table. An entry that is no longer needed fails its test: delete it. None is meant to stay.
"""

__all__ = ["OPEN", "excused"]

CUT = "issue 11 cuts it in the wing's own branch"
UNREAD = "nobody imports it: take it out of __all__ when the branch that rewrites its file is merged"

# ---------------------------------------------------------------------------------------------------------------------
# OPEN: delete an entry as soon as its test says that it is no longer needed.
# ---------------------------------------------------------------------------------------------------------------------
OPEN: dict[str, str] = {
    "arrow pipeline.report -> pipeline.stages": CUT,
    "arrow pipeline.summary -> pipeline.conductor": CUT,
    "arrow pipeline.summary -> pipeline.stages": CUT,
    "arrow training.data.fetch -> training.loop.checkpoints": CUT,
    "arrow training.models.binarize -> training.handover.emission": CUT,
    "circle pipeline.conductor, pipeline.report, pipeline.stages, pipeline.summary": CUT,
    "circle training.studies.ablation, training.studies.plots": CUT,
    "floor pipeline.console": "comes with the branch that cuts the circle of the pipeline",
    "floor pipeline.paths": "comes with the branch that cuts the circle of the pipeline",
    "floor pipeline.sampling": "comes with the branch that cuts the circle of the pipeline",
    "name training.latent.streams.LatentConv2d": UNREAD,
    "name training.latent.streams.LatentLinear": UNREAD,
    "name training.models.floatnets.FloatResNet": UNREAD,
    "name training.models.plainnets.BinaryMLP": UNREAD,
    "name training.models.plainnets.BinaryVGG": UNREAD,
    "name training.models.resnets.BinaryResNet": UNREAD,
    "name training.models.resnets.DigitsResNet": UNREAD,
}


def excused(kind: str) -> set[str]:
    """Return what is excused of one kind: "arrow", "circle", "floor" or "name"."""
    return {entry.removeprefix(f"{kind} ") for entry in OPEN if entry.startswith(f"{kind} ")}
