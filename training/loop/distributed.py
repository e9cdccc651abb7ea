"""Several processes, one training run: what ``torchrun`` sets up, and nothing where there is one process.

Each process takes an equal part of every batch, so ``batch_size`` is the global one; gradients are averaged. Batch norm
sees its process's part of the batch, which is the one difference to a single process.
"""

import os
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

__all__ = ["Group", "join", "leave"]


@dataclass(frozen=True)
class Group:
    """This process among ``world`` processes; rank 0 writes files and reports."""

    rank: int = 0
    world: int = 1
    local_rank: int = 0

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def part(self, rows: Tensor) -> Tensor:
        """Return this process's part of the rows of a batch; up to ``world − 1`` last rows are left out."""
        size = len(rows) // self.world
        return rows[self.rank * size : (self.rank + 1) * size]

    def wrap(self, module: nn.Module, device: torch.device, *, unused: bool) -> nn.Module:
        """Return ``module`` with its gradients averaged over the processes; ``unused``: some steps leave some out."""
        if self.world == 1:
            return module
        devices = [device] if device.type == "cuda" else None
        return DistributedDataParallel(module, device_ids=devices, find_unused_parameters=unused)

    def total(self, values: Tensor) -> Tensor:
        """Return the sum of ``values`` over the processes."""
        if self.world > 1:
            values = values.clone()
            dist.all_reduce(values)
        return values

    def wait(self) -> None:
        """Wait until every process is here."""
        if self.world > 1:
            dist.barrier()


def join(device: str) -> tuple[Group, str]:
    """Return this process's group, and the name of its device; joins the others if ``torchrun`` started it."""
    if int(os.environ.get("WORLD_SIZE", "1")) < 2 or "RANK" not in os.environ:
        return Group(), device
    cuda = device != "cpu" and torch.cuda.is_available()
    if not dist.is_initialized():
        dist.init_process_group("nccl" if cuda else "gloo")
    group = Group(dist.get_rank(), dist.get_world_size(), int(os.environ.get("LOCAL_RANK", "0")))
    if cuda:
        torch.cuda.set_device(group.local_rank)
        return group, f"cuda:{group.local_rank}"
    return group, device


def leave() -> None:
    """End what :func:`join` began."""
    if dist.is_initialized():
        dist.destroy_process_group()
