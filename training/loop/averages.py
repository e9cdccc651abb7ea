"""A moving average of all weights (Polyak), which is what a run with ``ema`` leaves behind.

``torch.optim.swa_utils.AveragedModel`` has one decay for all steps and averages a copy of the module; here the decay
rises with the step, so that the first steps are forgotten, and the state is a plain dict, as checkpoints hold it.
"""

import torch
from torch import Tensor, nn

__all__ = ["MovingAverage"]


class MovingAverage:
    """``average ← decay·average + (1 − decay)·value`` of parameters and batch norm statistics.

    The decay starts low, min(decay, (1 + step)/(10 + step)), so that the first steps are forgotten.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.module, self.decay = module, decay
        live = module.state_dict()
        self.values = {name: value.detach().clone() for name, value in live.items()}
        # state_dict() gives the tensors themselves: looking them up once spares that at every step.
        floats = [name for name, value in live.items() if value.is_floating_point()]
        self._floats = [self.values[name] for name in floats], [live[name] for name in floats]
        counters = [name for name in live if name not in floats]
        self._counters = [(self.values[name], live[name]) for name in counters]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the module's values after optimiser step number ``step``."""
        share = 1 - min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(*self._floats, share)
        for average, value in self._counters:
            average.copy_(value)

    def load(self, values: dict[str, Tensor]) -> None:
        """Continue from the averages of a checkpoint."""
        for name, value in values.items():
            self.values[name].copy_(value)

    def apply(self) -> None:
        """Write the averages into the module."""
        self.module.load_state_dict(self.values)
