"""Random numbers that follow from a key: of generators, and of whatever code of the user's draws from."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

__all__ = ["generator", "seed_of", "seeded"]

CPU = torch.device("cpu")


def generator(*key: int) -> torch.Generator:
    """Return a CPU generator whose state follows from ``key`` alone."""
    return torch.Generator().manual_seed(seed_of(*key))


def seed_of(*key: int) -> int:
    """Return a seed of 63 bits that follows from ``key`` alone."""
    (seed,) = np.random.SeedSequence(key).generate_state(1, np.uint64)
    return int(seed) >> 1


@contextmanager
def seeded(seed: int, device: torch.device = CPU) -> Iterator[None]:
    """Let what is drawn within follow from ``seed``: by torch (on ``device`` too), NumPy's functions and ``random``.

    Afterwards all three go on as if nothing had been drawn.
    """
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed % 2**32)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)
