"""Binary layers, their weights and the estimators of their gradients."""

from .binary import BinaryConv2d, BinaryLinear, RPReLU, RSign, set_progress
from .channels import minus, per_channel

__all__ = ["BinaryConv2d", "BinaryLinear", "RPReLU", "RSign", "minus", "per_channel", "set_progress"]
