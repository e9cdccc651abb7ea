"""The kernels: one file each, and the list from which one is chosen."""

from .registry import KERNELS, Kernel, choose, entry_address, entry_point

__all__ = ["KERNELS", "Kernel", "choose", "entry_address", "entry_point"]
