"""CSA over two planes of bits: a tile is two pixels, each in both planes, so weights are loaded once for both."""

from .csa import TILE_BYTES, count_csa
from .epilogue import make_epilogue
from .llvm import I32
from .tiles import make_convolution

__all__ = ["conv_csa_planes"]

_epilogue = make_epilogue(4, 32, width=16, counts=I32, planes=2)
conv_csa_planes = make_convolution(count_csa, _epilogue, 4, TILE_BYTES)
