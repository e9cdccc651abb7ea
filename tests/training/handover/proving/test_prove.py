"""``prove`` sees each way in which a file can answer otherwise, names the layer, and leaves the network as it is."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from latentbit.export import export_onnx
from latentbit.runtime.errors import CheckFailed, LatentbitError, UnsupportedError
from latentbit.training.handover.pixels import Pixels
from latentbit.training.handover.proving.prove import Proof, prove
from latentbit.training.layers.binary import BinaryConv2d, BinaryLinear, RPReLU, RSign

PIXELS = Pixels((0.5, 0.4), (0.2, 0.3))


def network() -> nn.Sequential:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(2, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        RSign(8),
        BinaryConv2d(8, 12, 3, padding=1, pad_value=-1),
        nn.BatchNorm2d(12),
        RPReLU(12),
        RSign(12),
        BinaryConv2d(12, 8, 3),
        nn.BatchNorm2d(8),
        nn.MaxPool2d(2),
        nn.Flatten(),
        RSign(32),
        BinaryLinear(32, 16),
        nn.Linear(16, 5),
    )
    with torch.no_grad():
        for module in net:
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.uniform_(-1, 1)  # type: ignore[union-attr]
                module.weight.uniform_(0.5, 1.5)
            if isinstance(module, RSign):
                module.threshold.uniform_(-0.1, 0.1)
    return net


EXAMPLE = torch.randn(2, 2, 6, 6, generator=torch.Generator().manual_seed(1))


def exported(net: nn.Module, tmp_path: Path, example: Tensor = EXAMPLE, **options: Any) -> Path:
    return export_onnx(net, example, tmp_path / "m.onnx", **options)


def changed(path: Path, name: str, change: Callable[[Any], Any]) -> bytes:
    """Return the file with another initializer of this name."""
    proto = onnx.load(path)
    (tensor,) = [tensor for tensor in proto.graph.initializer if tensor.name == name]
    values = numpy_helper.to_array(tensor).copy()
    tensor.CopyFrom(numpy_helper.from_array(change(values), name))
    return bytes(proto.SerializeToString())


def one_bit(values: Any) -> Any:
    values.flat[0] ^= 1
    return values


def test_what_was_compared_is_counted(tmp_path: Path) -> None:
    net = network()
    proof = prove(net, EXAMPLE, exported(net, tmp_path))
    assert proof.failure is None
    assert proof.samples == proof.judged == 2 * (2 + 3 + 2), "two engines; example, noise of another batch, mixed"
    assert proof.integers == 7 * (12 * 36 + 8 * 16 + 16)
    assert proof.signs == 14 * (8 * 36 + 12 * 36 + 32)
    assert proof.turned == {}
    assert 0 < proof.largest_difference < 1e-5


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("0.bias", lambda v: v + 0.05, "the first layer at fault is 0 (Conv2d)"),
        ("3.weight", one_bit, "sums of 3 are others"),
        ("7.weight", one_bit, "sums of 7 are others"),
        ("12.weight", one_bit, "sums of 12 are others"),
        ("2.threshold", lambda v: v + 0.05, "signs that 3 reads are others; the first layer at fault is 2 (RSign)"),
        ("3.scale", lambda v: -v, "the first layer at fault is 3 (BinaryConv2d)"),
        ("5.slope", lambda v: v * 2, "signs that 7 reads are others; the first layer at fault is 5 (RPReLU)"),
        ("13.bias", lambda v: v + 0.01, "logits differs by 0.01, rounding may change it by"),
    ],
)
def test_a_wrong_value_is_seen_and_its_layer_named(
    name: str, change: Callable[[Any], Any], said: str, tmp_path: Path
) -> None:
    net = network()
    proof = prove(net, EXAMPLE, changed(exported(net, tmp_path), name, change))
    assert proof.failure is not None
    assert said in proof.failure
    assert proof.failure.startswith("latentbit, on the example: ")
    assert "\n" not in proof.failure


def test_a_wrong_attribute_is_seen(tmp_path: Path) -> None:
    net = network()
    proto = onnx.load(exported(net, tmp_path))
    (node,) = [node for node in proto.graph.node if node.name == "3"]
    (value,) = [attribute for attribute in node.attribute if attribute.name == "pad_value"]
    value.f = 1.0
    assert "sums of 3 are others" in str(prove(net, EXAMPLE, proto.SerializeToString()).failure)


def test_what_only_onnxruntime_does_otherwise_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Our session runs kernels for a packed layer, onnxruntime the function in the file: both are judged."""
    monkeypatch.setattr("latentbit.runtime.intake.source.check_bodies", lambda functions: None)
    net = network()
    proto = onnx.load(exported(net, tmp_path))
    (function,) = [function for function in proto.functions if function.name == "BinaryGemm"]
    (rounded,) = [node for node in function.node if node.op_type == "Round"]
    rounded.op_type = "Abs"
    failure = prove(net, EXAMPLE, proto.SerializeToString()).failure
    assert str(failure).startswith("onnxruntime, on the example: logits differs by")


class Restless(nn.Module):
    """Changes its buffer, its input, and draws random numbers at every call."""

    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros(2, 1, 1))
        self.layer = nn.Conv2d(2, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        self.count += 1
        torch.rand(3)
        result: Tensor = self.layer(x)
        return result


def test_the_network_is_left_as_it_is(tmp_path: Path) -> None:
    net, inner = network().train(), Restless()
    net[1].eval()
    path = exported(net, tmp_path)
    for changing, file in ((net, path), (inner, exported(nn.Sequential(inner.layer), tmp_path))):
        modes = [module.training for module in changing.modules()]
        state = {name: value.clone() for name, value in changing.state_dict().items()}
        random, example = torch.get_rng_state(), EXAMPLE.clone()
        prove(changing, example, file)
        assert [module.training for module in changing.modules()] == modes
        assert all(torch.equal(value, state[name]) for name, value in changing.state_dict().items())
        assert torch.equal(torch.get_rng_state(), random)
        assert torch.equal(example, EXAMPLE)
        assert not any(module._forward_pre_hooks or module._forward_hooks for module in changing.modules())
        assert all(parameter.requires_grad for parameter in changing.parameters())


def test_a_file_that_is_refused_leaves_the_former_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """(Which wrong files there are to refuse is the matter of test_wrong_answers.)"""
    path, net = tmp_path / "m.onnx", network()
    path.write_text("former")
    monkeypatch.setattr("latentbit.export.writer.find_prover", lambda network: lambda *_: Proof(failure="told so"))
    with pytest.raises(CheckFailed, match=r"m.onnx is not written, .*: told so \(prove=False writes it all the same\)"):
        export_onnx(net, EXAMPLE, path)
    assert path.read_text() == "former"
    assert export_onnx(net, EXAMPLE, path, prove=False).stat().st_size > 1000


def test_a_proven_file_and_an_unproven_one_are_the_same_bytes(tmp_path: Path) -> None:
    net = network()
    proven = exported(net, tmp_path).read_bytes()
    assert exported(net, tmp_path, prove=False).read_bytes() == proven


@pytest.mark.parametrize(
    "options",
    [
        {"int8_weights": True},
        {"pixels": PIXELS},
        {"pixels": PIXELS, "exact_stem": True},
        {"top_k": 2},
        {"top_k": 3, "labels": list("abcde")},
        {"output_name": "classes"},
    ],
    ids=str,
)
def test_every_form_of_a_file_is_proven(options: dict[str, Any], tmp_path: Path) -> None:
    net = network()
    example = torch.zeros(1, 6, 6, 2, dtype=torch.uint8) if "pixels" in options else EXAMPLE
    path = exported(net, tmp_path, example, **options)
    form = {name: value for name, value in options.items() if name in ("pixels", "exact_stem", "int8_weights")}
    assert prove(net, example, path, **form).failure is None
    wrong = changed(path, "3.weight", one_bit)
    assert "sums of 3 are others" in str(prove(net, example, wrong, **form).failure)


def test_what_an_option_changes_on_purpose_is_no_fault_and_nothing_else_hides_behind_it(tmp_path: Path) -> None:
    """The file with int8 weights is allowed their rounding, and the one without them is compared as ever."""
    net = nn.Sequential(nn.Conv2d(2, 32, 3), nn.ReLU(), nn.Conv2d(32, 4, 3))
    path = exported(net, tmp_path, int8_weights=True)
    assert "differs" in str(prove(net, EXAMPLE, path).failure), "not the numbers of the network"
    assert prove(net, EXAMPLE, path, int8_weights=True).failure is None
    (scale,) = [tensor.name for tensor in onnx.load(path).graph.initializer if "scale" in tensor.name][-1:]
    wrong = changed(path, scale, lambda v: v * 1.2)
    assert "differs" in str(prove(net, EXAMPLE, wrong, int8_weights=True).failure)
    net[0].register_forward_hook(lambda module, arguments, result: result * 2)
    try:
        exported(net, tmp_path, int8_weights=True)
    except LatentbitError:
        return
    assert prove(net, EXAMPLE, tmp_path / "m.onnx", int8_weights=True).failure is None


def test_outputs_of_top_k_follow_from_the_first(tmp_path: Path) -> None:
    net = network()
    proto = onnx.load(exported(net, tmp_path, top_k=2))
    (top,) = [node for node in proto.graph.node if node.op_type == "TopK"]
    top.attribute.append(onnx.helper.make_attribute("largest", 0))
    assert "scores are not the largest" in str(prove(net, EXAMPLE, proto.SerializeToString()).failure)


def test_a_layer_of_signs_alone_is_proven_on_signs(tmp_path: Path) -> None:
    layer, example = BinaryConv2d(2, 4, 3), EXAMPLE.sign()
    proof = prove(layer, example, exported(layer, tmp_path, example))
    assert (proof.failure, proof.judged) == (None, 14)


def test_a_layer_that_is_called_twice_is_compared_twice(tmp_path: Path) -> None:
    sign, layer = RSign(8), BinaryConv2d(8, 8, 3, padding=1, groups=2)
    nn.init.constant_(sign.threshold, 0.01)
    net, example = nn.Sequential(sign, layer, nn.Hardtanh(), sign, layer), torch.randn(1, 8, 4, 4)
    proof = prove(net, example, exported(net, tmp_path, example))
    assert proof.failure is None
    assert proof.integers == 2 * 4 * 8 * 16, "both calls, of 1, 2 and 1 samples"


@pytest.mark.parametrize("wrap", [nn.DataParallel, lambda net: torch.compile(net, backend="eager")])
def test_a_wrapped_network_is_compared_layer_by_layer(wrap: Callable[[nn.Module], nn.Module], tmp_path: Path) -> None:
    net = network()
    proof = prove(wrap(net), EXAMPLE, exported(net, tmp_path))
    assert proof.failure is None
    assert proof.integers > 0


def test_a_size_that_is_free_is_tried(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    free, fixed = exported(net, tmp_path, dynamic_spatial=True).read_bytes(), exported(net, tmp_path).read_bytes()
    assert prove(net, EXAMPLE, free).samples > prove(net, EXAMPLE, fixed).samples


def test_outputs_that_are_no_numbers_or_infinite_are_compared_too(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Conv2d(2, 2, 1), nn.Conv2d(2, 2, 1))
    nn.init.constant_(net[1].weight, 3e38)
    path = exported(net, tmp_path)
    assert prove(net, EXAMPLE, path).failure is None
    assert prove(net, EXAMPLE, changed(path, "1.weight", np.abs)).failure is None
    assert prove(net, EXAMPLE, changed(path, "1.weight", np.negative)).failure is not None


def test_a_network_that_cannot_answer_its_example_is_named(tmp_path: Path) -> None:
    path = exported(nn.Sequential(nn.Conv2d(2, 2, 1)), tmp_path)
    with pytest.raises(UnsupportedError, match=r"the network cannot answer its example: .*\[2, 3, 1, 1\]"):
        prove(nn.Sequential(nn.Conv2d(3, 2, 1)), EXAMPLE, path)
