"""What runs where: binary layers become units, kernels are chosen for them, and the graph is cut into segments."""

from .float_stem import FloatStem
from .parts import Choice, Chosen, Part, Planned
from .plan import Plan, make_plan
from .segments import BinarySegment, FloatSegment
from .shortcut import Shortcut
from .stem import Stem
from .units import Unit

__all__ = [
    "BinarySegment",
    "Choice",
    "Chosen",
    "FloatSegment",
    "FloatStem",
    "Part",
    "Plan",
    "Planned",
    "Shortcut",
    "Stem",
    "Unit",
    "make_plan",
]
