"""What runs where: the graph is cut into segments, and binary layers become units."""

from .segments import BinarySegment, FloatSegment, Plan, in_place_units, make_plan

__all__ = ["BinarySegment", "FloatSegment", "Plan", "in_place_units", "make_plan"]
