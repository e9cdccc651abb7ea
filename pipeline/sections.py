"""The sections of a configuration: one dataclass a stage, one field a key, defaults = the digits recipe.

``[train]`` is :class:`latentbit.training.settings.Settings`, the keywords of ``latentbit.training.train``, and
``[check]`` is :class:`latentbit.runtime.Tolerances`. The metadata of a field say which values are possible:
``minimum`` and ``maximum``, or ``choices``.
"""

from dataclasses import dataclass, field
from typing import Any

from ..runtime.proof.tolerances import Tolerances
from ..training.settings import Settings

__all__ = ["Config", "ExportSection", "FoldSection", "ReportSection", "RunSection"]


def _between(default: float, minimum: float, maximum: float | None = None) -> Any:
    return field(default=default, metadata={"minimum": minimum, "maximum": maximum})


def _one_of(default: str, *others: str) -> Any:
    return field(default=default, metadata={"choices": (default, *others)})


@dataclass(frozen=True, kw_only=True)
class FoldSection:
    """What is deployed, and what the folded reference records.

    ``input``: float32 (normalised ``[N,C,H,W]``), uint8 (pixels ``[N,H,W,C]``, normalisation in the graph), or exact
    (pixels, and a first layer of int8 weights whose sums are integers). ``int8_weights`` stores float layers as int8.
    ``dynamic_spatial`` leaves height and width of the image free: the file runs on images of any size.
    """

    input: str = _one_of("float32", "uint8", "exact")
    int8_weights: bool = False
    dynamic_spatial: bool = False
    samples: int = _between(1000, 1)


@dataclass(frozen=True, kw_only=True)
class ExportSection:
    """How the file is written.

    ``top_k`` adds the outputs ``labels`` and ``scores`` of the k most probable classes. ``plain_opset``, 14 or later,
    also writes plain.onnx at that opset: the same model without functions, for tools that cannot handle them (0: none).
    """

    top_k: int = _between(0, 0)
    plain_opset: int = _between(0, 0)


@dataclass(frozen=True, kw_only=True)
class RunSection:
    """How the runtime executes the model."""

    threads: int = _between(1, 1, 256)


@dataclass(frozen=True, kw_only=True)
class ReportSection:
    """What report.html shows."""

    images: int = _between(24, 0, 400)


@dataclass(frozen=True, kw_only=True)
class Config:
    """A whole configuration: a section for each stage."""

    train: Settings = field(default_factory=Settings)
    fold: FoldSection = field(default_factory=FoldSection)
    export: ExportSection = field(default_factory=ExportSection)
    run: RunSection = field(default_factory=RunSection)
    check: Tolerances = field(default_factory=Tolerances)
    report: ReportSection = field(default_factory=ReportSection)
