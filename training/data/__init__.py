"""Data sets, augmentation and batches."""

from .catalogue import LOADERS, load
from .dataset import Dataset, holdout

__all__ = ["LOADERS", "Dataset", "holdout", "load"]
