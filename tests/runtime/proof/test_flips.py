"""A sign that came out otherwise is excused where rounding can have turned it, and nowhere else."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from latentbit.runtime.proof.accuracy import check
from latentbit.runtime.proof.tolerances import Tolerances

from ...support.graphs import GraphMaker, chain
from ...support.references import write_own_reference

SAMPLES = 40
LOOSE: dict[str, Any] = {"latency_runs": 1, "oracle_samples": 1, "max_flipped_share": 1.0, "min_top1_agreement": 0.0}


def constant(model: onnx.ModelProto, node: onnx.NodeProto, place: int) -> onnx.TensorProto:
    return next(entry for entry in model.graph.initializer if entry.name == node.input[place])


def layers(model: onnx.ModelProto, op_type: str) -> list[onnx.NodeProto]:
    return [node for node in model.graph.node if node.op_type == op_type]


def failures(right: onnx.ModelProto, wrong: onnx.ModelProto, folder: Path, **changed: Any) -> list[str]:
    """Return what the check says of a file against the reference of another."""
    data = right.SerializeToString()
    inputs = GraphMaker(5).floats(SAMPLES, 12, 8, 8)
    write_own_reference(data, inputs, folder / "reference.npz")
    (folder / "model.onnx").write_bytes(wrong.SerializeToString())
    allowed = Tolerances(**{**LOOSE, "max_accuracy_drop": 1.0, "max_logit_difference": 1e9, **changed})
    return list(check(folder / "model.onnx", folder / "reference.npz", allowed).failures)


def a_weight_bit(model: onnx.ModelProto) -> None:
    tensor = constant(model, layers(model, "BinaryConv2d")[0], 1)
    packed = numpy_helper.to_array(tensor).copy()
    packed[0, 0, 0, 0] ^= 1
    tensor.CopyFrom(numpy_helper.from_array(packed, tensor.name))


def a_scale(model: onnx.ModelProto) -> None:
    tensor = constant(model, layers(model, "BinaryConv2d")[0], 2)
    scale = numpy_helper.to_array(tensor).copy()
    scale[0] *= 1.05
    tensor.CopyFrom(numpy_helper.from_array(scale, tensor.name))


def a_threshold(model: onnx.ModelProto) -> None:
    tensor = constant(model, layers(model, "Binarize")[1], 1)
    threshold = numpy_helper.to_array(tensor).copy()
    threshold.reshape(-1)[0] += 0.5
    tensor.CopyFrom(numpy_helper.from_array(threshold, tensor.name))


@pytest.mark.parametrize("damage", [a_weight_bit, a_scale, a_threshold])
def test_damage_is_no_rounding(damage: Callable[[onnx.ModelProto], None], tmp_path: Path) -> None:
    wrong = chain()
    damage(wrong)
    found = failures(chain(), wrong, tmp_path)
    assert any("rounding does not explain" in failure for failure in found), found
    assert failures(chain(), wrong, tmp_path, max_flip_distance=10.0) == [], "nothing else notices it"


def test_what_rounding_can_turn_is_excused(tmp_path: Path) -> None:
    """Move a threshold over the value that is nearest to it: from just above it to just below."""
    right, wrong = chain(), chain()
    node = layers(right, "Binarize")[0]
    values = GraphMaker(5).floats(SAMPLES, 12, 8, 8)
    threshold = numpy_helper.to_array(constant(right, node, 1)).copy()
    channel = threshold.reshape(-1)
    nearest = np.sort(values[:, 0].reshape(-1))[SAMPLES * 32]
    for model, step in ((right, -1e-6), (wrong, 1e-6)):
        channel[0] = nearest + step
        tensor = constant(model, node, 1)
        tensor.CopyFrom(numpy_helper.from_array(threshold, tensor.name))
    assert failures(right, wrong, tmp_path) == []
    (failure,) = failures(right, wrong, tmp_path, max_flip_distance=1e-9)
    assert "rounding does not explain 1 signs" in failure
