"""Networks by name, and the way from a network of one's own to a binary one."""

from .catalogue import MODELS, build_model, model_options

__all__ = ["MODELS", "build_model", "model_options"]
