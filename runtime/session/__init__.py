"""The session: segments bound to buffers, and run."""

from .session import InferenceSession, LayerTrace, ModelMeta, ValueInfo

__all__ = ["InferenceSession", "LayerTrace", "ModelMeta", "ValueInfo"]
