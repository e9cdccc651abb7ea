"""Where the stages of a network end, seen while a stream runs: for the supervision of features in L2."""

from typing import Any

from torch import Tensor, nn

from ...runtime.errors import UnsupportedError
from ..layers.binary import BinaryConv2d, RSign
from ..layers.weights import LatentWeightLayer
from .streams import Change

__all__ = ["NO_CLASSIFIER", "Stages"]

NO_CLASSIFIER = "the centre loss needs a network that ends in a dense layer: use centre = 0"

POOLS = (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.MaxPool1d, nn.MaxPool2d)


class Stages:
    """The activations of one pass of a stream at the end of each stage, and what its last dense layer reads.

    A stage ends before a strided binary convolution (before the sign in front of it, if there is one) and before a
    pool.
    Nothing counts that was there before the first sign or binary layer has run.
    """

    def __init__(self, classifier: nn.Linear | None) -> None:
        self.classifier, self.begun = classifier, False
        self.ends: list[Tensor] = []
        self.before: list[Tensor] = []
        self.signs: list[tuple[Tensor, Tensor]] = []
        self.dense: tuple[Tensor, Tensor] | None = None

    def rule(self, path: str, module: nn.Module) -> list[Change]:
        """Return what tells this object of the values that a module of a stream reads."""
        if module is self.classifier:
            return [(_Dense, {"latent_stages": self})]
        for known, kind in WATCHED:
            if isinstance(module, known):
                return [(kind, {"latent_stages": self})]
        return []

    def begin(self) -> None:
        """Forget the pass before."""
        self.begun, self.dense = False, None
        for values in (self.ends, self.before, self.signs):
            values.clear()

    def end(self, x: Tensor) -> None:
        """Note that a stage ends with ``x``."""
        if self.begun and not any(x is other for other in (*self.ends, *self.before)):
            self.ends.append(x)

    def found(self) -> tuple[Tensor, ...]:
        """Return the features of the pass; UnsupportedError if there are none."""
        features = tuple(self.ends)
        self.ends.clear()
        self.before.clear()
        self.signs.clear()
        if not features:
            raise UnsupportedError("this network has no stages to supervise: use L1 in place of L2")
        return features

    def pooled(self, outputs: Any) -> Tensor:
        """Return the input of the dense layer that gave ``outputs``; UnsupportedError if none did."""
        dense, self.dense = self.dense, None
        if dense is None or dense[1] is not outputs:
            raise UnsupportedError(NO_CLASSIFIER)
        return dense[0]


class _Watched(nn.Module):
    latent_stages: Stages


class _Pool(_Watched):
    """Ends a stage."""

    def forward(self, input: Tensor) -> Any:
        self.latent_stages.end(input)
        return super().forward(input)


class _Dense(_Watched):
    """Tells what it read and gave."""

    def forward(self, input: Tensor) -> Any:
        out = super().forward(input)
        self.latent_stages.dense = input, out
        return out


class _Sign(_Watched):
    """Tells what it read and gave."""

    def forward(self, x: Tensor) -> Any:
        out = super().forward(x)
        if not self.latent_stages.begun:
            self.latent_stages.before.append(x)
        self.latent_stages.begun = True
        self.latent_stages.signs.append((out, x))
        return out


class _Layer(_Watched):
    """Tells that binary layers have begun."""

    def forward(self, x: Tensor) -> Any:
        self.latent_stages.begun = True
        return super().forward(x)


class _Convolution(_Layer):
    """Ends a stage where it is strided."""

    stride: tuple[int, int]

    def forward(self, x: Tensor) -> Any:
        if max(self.stride) > 1:
            self.latent_stages.end(next((source for signs, source in self.latent_stages.signs if signs is x), x))
        return super().forward(x)


WATCHED: tuple[tuple[Any, type[nn.Module]], ...] = (
    (RSign, _Sign),
    (BinaryConv2d, _Convolution),
    (LatentWeightLayer, _Layer),
    (POOLS, _Pool),
)
"""What the modules of a stream become; the first that fits."""
