"""The latent branch: W as a second, real-valued stream that teaches the binary one."""

from .objectives import OBJECTIVES, Objective, build_objective

__all__ = ["OBJECTIVES", "Objective", "build_objective"]
