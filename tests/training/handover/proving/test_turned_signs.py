"""A sign that only rounding turned is counted and named; one farther from its threshold is a fault."""

from pathlib import Path

import numpy as np
import torch
from torch import nn

from latentbit.training.handover.proving.prove import Proof, prove
from latentbit.training.layers.binary import BinaryConv2d, RSign
from latentbit.training.layers.weight_only import BinaryWeightConv2d

from .test_prove import EXAMPLE, changed, exported


def tie(bound: float, x: list[float], layer: nn.Module, tmp_path: Path) -> Proof:
    """Prove a file whose threshold is another than that of its network, 0.5."""
    net = nn.Sequential(RSign(1), layer)
    nn.init.constant_(net[0].threshold, 0.5)
    example = torch.tensor(x).reshape(-1, 1, 1, 2)
    path = exported(net, tmp_path, example)
    return prove(net, example, changed(path, "0.threshold", lambda v: np.full_like(v, bound)))


NEXT = float(np.nextafter(np.float32(0.5), np.float32(1)))


def test_a_sign_that_rounding_turns_is_counted_and_named(tmp_path: Path) -> None:
    proof = tie(NEXT, [0.5, 0.9, -1.0, 0.5, 0.9, 0.9], BinaryConv2d(1, 2, 1), tmp_path)
    assert proof.failure is None
    assert set(proof.turned) == {"1"}
    assert proof.turned["1"] >= 4, "two in the example, for two engines"
    assert proof.judged == proof.samples, "what follows is judged with the signs of the file"


def test_sums_that_are_zero_may_have_either_sign(tmp_path: Path) -> None:
    """They are 0 to the file, which counts, and 0 but for rounding to a layer that adds α·sign(W)."""
    torch.manual_seed(0)
    net = nn.Sequential(RSign(16), BinaryConv2d(16, 16, 3, padding=1), RSign(16), BinaryConv2d(16, 8, 1))
    example = torch.randn(2, 16, 6, 6)
    proof = prove(net, example, exported(net, tmp_path, example))
    assert proof.failure is None
    assert set(proof.turned) <= {"3"}
    assert sum(proof.turned.values()) < 0.1 * proof.signs


def test_a_sign_farther_from_its_threshold_is_a_fault(tmp_path: Path) -> None:
    proof = tie(0.501, [0.5005, 0.9, -1.0, 0.2], BinaryConv2d(1, 2, 1), tmp_path)
    assert "1 of the 4 signs that 1 reads are others" in str(proof.failure)


def test_samples_with_a_sign_in_doubt_that_no_packed_layer_reads_are_not_judged(tmp_path: Path) -> None:
    proof = tie(NEXT, [0.5, 0.9, -1.0, 0.2, 0.9, 0.9], BinaryWeightConv2d(1, 2, 1), tmp_path)
    assert proof.failure is None
    assert 0 < proof.judged < proof.samples


def test_a_file_of_which_no_sample_can_be_judged_is_not_proven(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Conv2d(2, 1, 1), RSign(1), BinaryWeightConv2d(1, 2, 1))
    nn.init.zeros_(net[0].weight)
    nn.init.constant_(net[0].bias, 0.5)
    nn.init.constant_(net[1].threshold, 0.5)
    wrong = changed(exported(net, tmp_path), "1.threshold", lambda v: np.full_like(v, NEXT))
    assert "in every sample a sign lies on its threshold" in str(prove(net, EXAMPLE, wrong).failure)
