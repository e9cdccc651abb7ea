"""Where an export went wrong: the first layer of the file whose values the eager network has nowhere."""

from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray
from torch import Tensor

from ....runtime.proof.engines import Answer, Candidate
from .eager import Eager, owner
from .outputs import agree

__all__ = ["first_fault"]


def first_fault(
    candidate: Candidate, eager: Eager, inputs: Sequence[Tensor], feeds: Mapping[str, NDArray[Any]], answer: Answer
) -> str:
    """Return a sentence's end that says where the values of the file begin to be others.

    The last node of a layer (by its name in the file) gives what the layer returns, with whatever was folded into it:
    what some module of the eager network returned as well.
    """
    seen = [values for _, values in eager.run(inputs, answer, watch=True).seen]
    values = candidate.values(feeds)
    leaves = {path: module for path, module in eager.modules.items() if path and not any(module.children())}
    last = {path: output for name, output in candidate.nodes() if (path := owner(name, leaves)) and output in values}
    for path, output in last.items():
        if not any(_alike(values[output], other, eager.slack) for other in seen):
            return f"the first layer at fault is {path} ({type(leaves[path]).__name__})"
    return "each layer alone answers alike: what differs is in the forward() around them"


def _alike(values: NDArray[Any], others: NDArray[Any], slack: float) -> bool:
    return values.size == others.size and bool(agree(others.reshape(values.shape), values, slack).all())
