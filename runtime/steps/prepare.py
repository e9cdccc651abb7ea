"""Everything that the kernels run, made ready for any input size when the session opens.

::

    choose kernels ─► make the plan ─► prepare ─────────► bind ────────────────► run
                                       weights, once      steps, for each shape  for each image
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Protocol

from ..plan.alias import Alias
from ..plan.chain import Chain
from ..plan.dense import Dense
from ..plan.float_stem import FloatStem
from ..plan.integers import IntegerConv
from ..plan.linear import Linear
from ..plan.mean import Mean
from ..plan.norm import Norm
from ..plan.parts import Planned
from ..plan.plan import Plan
from ..plan.pool import Pool
from ..plan.regroup import Regroup
from ..plan.route import Route
from ..plan.shortcut import Shortcut
from ..plan.stem import Stem
from ..plan.units import Unit
from ..plan.upsample import Upsample
from ..plan.view import View
from .buffers import Buffers
from .dense import PreparedDense
from .float_stem import PreparedFloatStem
from .linear import PreparedLinear
from .natives import PreparedChain, PreparedMean, PreparedRoute, PreparedView
from .norms import PreparedAlias, PreparedNorm, PreparedRegroup
from .pool import PreparedPool
from .shortcut import PreparedShortcut
from .stem import PreparedStem
from .step import Bound
from .unit import PreparedUnit
from .upsample import PreparedUpsample

__all__ = ["Prepared", "prepare"]


class Prepared(Protocol):
    """A part that is ready for any input size: weights lie as its kernel reads them."""

    def bind(self, buffers: Buffers) -> Bound:
        """Return its steps over these buffers; its output is entered there. Raises ModelError for a bad shape."""


_PREPARE: Mapping[type, Callable[[Planned[Any]], Prepared]] = MappingProxyType(
    {
        Unit: PreparedUnit.of,
        FloatStem: PreparedFloatStem.of,
        Stem: PreparedStem.of,
        IntegerConv: PreparedStem.of,
        Shortcut: PreparedShortcut.of,
        Dense: PreparedDense.of,
        Linear: PreparedLinear.of,
        Chain: PreparedChain.of,
        Mean: PreparedMean.of,
        Pool: PreparedPool.of,
        Upsample: PreparedUpsample.of,
        Route: PreparedRoute.of,
        Norm: PreparedNorm.of,
        Alias: PreparedAlias.of,
        Regroup: PreparedRegroup.of,
        View: PreparedView.of,
    }
)
"""How each kind of part is prepared."""


def prepare(plan: Plan) -> dict[Planned[Any], Prepared]:
    """Prepare every part of a plan."""
    return {planned: _PREPARE[type(planned.part)](planned) for planned in plan.parts}
