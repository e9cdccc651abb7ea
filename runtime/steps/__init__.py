"""Parts of the plan made ready for their kernels, and bound to memory as steps."""

from .choice import KernelChoice, choose_kernels
from .prepare import Prepared, prepare
from .step import Step

__all__ = ["KernelChoice", "Prepared", "Step", "choose_kernels", "prepare"]
