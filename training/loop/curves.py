"""Curves for TensorBoard, beside the lines of metrics.jsonl. Needs the package tensorboard."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...runtime.errors import MissingExtraError

__all__ = ["Curves"]


class Curves:
    """Writes one point of each curve an epoch into ``folder``; points from ``first_epoch`` on are overwritten."""

    def __init__(self, folder: Path, first_epoch: int) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise MissingExtraError(
                "train.tensorboard needs tensorboard: pip install 'latentbit[tensorboard]'"
            ) from None
        self._writer: Any = SummaryWriter(str(folder), purge_step=first_epoch or None)

    def add(self, metrics: Mapping[str, float]) -> None:
        """Write the figures of an epoch (its number is ``metrics["epoch"]``)."""
        for name, value in metrics.items():
            if name != "epoch":
                self._writer.add_scalar(name, value, int(metrics["epoch"]))
        self._writer.flush()

    def close(self) -> None:
        """Close the file."""
        self._writer.close()
