"""PERM over two planes of bits: a pair of pixels is one pixel in both, so a tile is seven pixels of a row."""

from .perm import make_perm

__all__ = ["conv_perm_planes"]

conv_perm_planes = make_perm(2)
