"""The kernels: one file each, and the lists from which one is chosen."""

from .entry import entry_address, entry_point
from .registry import KERNELS, Kernel
from .sums import SUMS

__all__ = ["KERNELS", "SUMS", "Kernel", "entry_address", "entry_point"]
