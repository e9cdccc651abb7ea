"""Image files to labels, by the preprocessing that the model file states."""

from .labels import Answer, classify
from .preprocessing import Preprocessing, read_preprocessing

__all__ = ["Answer", "Preprocessing", "classify", "read_preprocessing"]
