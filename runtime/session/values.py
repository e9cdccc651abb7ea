"""What a session tells of its model and of a run."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["LayerTrace", "ModelMeta", "ValueInfo"]


@dataclass(frozen=True)
class ValueInfo:
    """An input or output of the model, as onnxruntime describes it: ``type`` such as ``tensor(float)``."""

    name: str
    type: str
    shape: list[int | str | None]


@dataclass(frozen=True)
class ModelMeta:
    """The descriptive part of a model file, with onnxruntime's names."""

    producer_name: str
    graph_name: str
    domain: str
    description: str
    version: int
    custom_metadata_map: dict[str, str]


@dataclass(frozen=True)
class LayerTrace:
    """What one binary layer read and summed.

    ``signs`` int8 ±1 ``[N, C, H, W]`` (dense: ``[N, K]``), ``accumulators`` int32 ``[N, O, H, W]`` (``[N, O]``).
    """

    name: str
    op_type: str
    signs: NDArray[np.int8]
    accumulators: NDArray[np.int32]
