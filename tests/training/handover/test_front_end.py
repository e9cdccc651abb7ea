"""Any torch module through ``torch.export``: the file answers as the module does, or the export says why not."""

import operator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import prune

from latentbit.export import export_onnx
from latentbit.runtime import InferenceSession
from latentbit.runtime.errors import UnsupportedError
from latentbit.training.handover.pixels import Pixels
from latentbit.training.layers.binary import BinaryConv2d, BinaryLinear, RPReLU, RSign
from latentbit.training.layers.weight_only import BinaryWeightConv2d, BinaryWeightLinear
from latentbit.training.models.catalogue import build_model

from ...support.deployed import folded, packed
from ...support.settled import settled
from ...support.step import Step


def hooked(network: nn.Sequential) -> nn.Module:
    network[0].register_forward_hook(lambda module, given, result: result * 2)
    network.register_forward_pre_hook(lambda module, given: (given[0] * 3,))
    return network


def pruned() -> nn.Module:
    network = nn.Sequential(nn.Conv2d(2, 2, 1))
    prune.l1_unstructured(network[0], "weight", 0.5)
    return network


def over_chunks(x: Tensor) -> Any:
    return torch.cat(x.chunk(2, 1)[::-1], 1).mean(axis=2)  # type: ignore[call-overload]


def in_place(channels: int, x: Tensor, layer: nn.Module) -> Tensor:
    y: Tensor = layer(x)[:, :channels]
    y += 1.0
    return y


class Scaled(BinaryConv2d):
    """A subclass that keeps the law of its class."""

    def extra_repr(self) -> str:
        return "scaled"


class Doubled(BinaryConv2d):
    """A subclass with a forward of its own: torch reads what it computes."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * 2


RIGHT: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "in-place relu, read again": (
        Step(lambda x, c, r: (lambda y: r(y) + y)(c(x)), nn.Conv2d(2, 3, 1), nn.ReLU(inplace=True)),
        (2, 4, 4),
    ),
    "in-place add, read again": (
        Step(lambda x, c: (lambda y: operator.iadd(y, 1.0) * y)(c(x)), nn.Conv2d(2, 3, 1)),
        (2, 4, 4),
    ),
    "norm behind a linear layer over frames": (nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6)), (6, 5)),
    "norm over other channels": (nn.Sequential(nn.Linear(5, 7), nn.BatchNorm1d(6)), (6, 5)),
    "binary linear over frames": (nn.Sequential(RSign(6), BinaryLinear(5, 7), nn.BatchNorm1d(6)), (6, 5)),
    "scale that does not divide": (nn.Upsample(scale_factor=1.5, mode="bilinear"), (2, 7, 7)),
    "size that does not divide": (nn.Upsample(size=(13, 13)), (2, 7, 7)),
    "softmax without dim": (nn.Softmax(), (3, 4, 4)),
    "hooks": (hooked(nn.Sequential(nn.Conv2d(2, 2, 1), nn.ReLU())), (2, 4, 4)),
    "sizes from the input": (Step(lambda x: F.avg_pool2d(x, x.shape[2:]) * len(x.shape)), (2, 4, 4)),
    "squeeze of all": (Step(lambda x: x.mean((2, 3), keepdim=True).squeeze()), (2, 4, 4)),
    "axis= and chunks": (Step(over_chunks), (4, 4, 4)),
    "frames into the batch": (
        Step(lambda x: (x.reshape(-1, x.shape[2]) * 2).view(x.shape[0], x.shape[1], x.shape[2])),
        (3, 4),
    ),
    "batch moved": (Step(lambda x: x.permute(2, 0, 1).reshape(x.size(0), -1)), (5, 6)),
    "pruned": (pruned(), (2, 4, 4)),
    "weight norm": (nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Conv2d(2, 2, 3))), (2, 4, 4)),
    "lstm": (Step(lambda x, cell: cell(x)[0], nn.LSTM(4, 4, batch_first=True)), (3, 4)),
    "1-D": (nn.Sequential(nn.Conv1d(2, 3, 3), nn.BatchNorm1d(3)), (2, 9)),
    "reflected padding": (nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"), (4, 6, 8)),
    "uneven adaptive pool": (nn.AdaptiveAvgPool2d((4, 3)), (4, 6, 8)),
    "written to in place through a slice of everything": (Step(partial(in_place, 4), nn.Conv2d(4, 4, 1)), (4, 6, 8)),
    "written to in place through a slice": (Step(partial(in_place, 3), nn.Conv2d(4, 4, 1)), (4, 6, 8)),
    "alpha of add": (Step(lambda x: torch.add(x, x, alpha=2)), (4, 6)),
    "area": (Step(lambda x: F.interpolate(x, scale_factor=2.0, mode="area")), (4, 6, 8)),
    "max pool, ceil, window in the padding": (nn.MaxPool2d(2, 2, 1, ceil_mode=True), (2, 7, 7)),
    "average pool, ceil, window in the padding": (nn.AvgPool2d(3, 3, 1, ceil_mode=True), (2, 2, 2)),
    "average pool, ceil": (nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False), (2, 6, 6)),
    "subclass": (nn.Sequential(RSign(4), Scaled(4, 5, 3), nn.BatchNorm2d(5)), (4, 6, 6)),
    "subclass of its own law": (nn.Sequential(RSign(4), Doubled(4, 5, 3), nn.BatchNorm2d(5)), (4, 6, 6)),
    "weight-only": (
        nn.Sequential(BinaryWeightConv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Flatten(2), BinaryWeightLinear(4, 3)),
        (2, 4, 4),
    ),
}


def assert_answers(network: nn.Module, shape: tuple[int, ...], path: Path) -> onnx.ModelProto:
    """Compare the file with the module in both executors, for two batches."""
    sessions = [InferenceSession(path), onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])]
    for batch in (2, 5):
        x = torch.randn(batch, *shape)
        with torch.no_grad():
            expected = network(x.clone()).numpy()
        for session in sessions:
            (result,) = session.run(None, {"input": x.numpy()})
            assert result.shape == expected.shape
            np.testing.assert_allclose(result, expected, rtol=2e-5, atol=5e-6)
    return onnx.load(path)


@pytest.mark.filterwarnings("ignore:Implicit dimension choice")
@pytest.mark.parametrize("kind", RIGHT)
def test_the_file_answers_as_the_module(kind: str, tmp_path: Path) -> None:
    torch.manual_seed(1)
    network, shape = RIGHT[kind]
    path = export_onnx(settled(network), torch.zeros(1, *shape), tmp_path / "model.onnx")
    assert_answers(network, shape, path)


class Random(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(x, 0.5)


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (nn.AvgPool2d(2, divisor_override=3), "divisor_override"),
        (Step(lambda x: x.view(3, -1)), "does not accept an input of another batch"),
        (Step(lambda x: x if x.sum() > 0 else -x), "torch.export cannot read"),
        (Random(), "draws random numbers"),
        (nn.BatchNorm2d(4, track_running_stats=False), "BatchNorm2d: a batch norm without running statistics"),
        (nn.Conv2d(3, 4, 1), r"does not accept an input of shape \[3, 4, 6, 8\]"),
    ],
)
def test_what_would_answer_otherwise_is_refused(network: nn.Module, words: str, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match=words) as caught:
        export_onnx(network.eval(), torch.zeros(3, 4, 6, 8), tmp_path / "model.onnx")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_ceil_mode_of_a_padded_pool_needs_the_image_size(tmp_path: Path) -> None:
    network, x = nn.MaxPool2d(2, 2, 1, ceil_mode=True), torch.zeros(2, 2, 7, 9)
    with pytest.raises(UnsupportedError, match="a padded pool with ceil_mode needs a fixed image size"):
        export_onnx(network, x, tmp_path / "model.onnx", dynamic_spatial=True)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_parameters_of_another_kind_become_float32(dtype: torch.dtype, tmp_path: Path) -> None:
    network = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU()).to(dtype)
    path = export_onnx(network, torch.zeros(1, 2, 5, 5, dtype=dtype), tmp_path / "model.onnx")
    assert network[0].weight.dtype == dtype
    assert_answers(network.float(), (2, 5, 5), path)


def test_signs_that_users_wrote_are_packed(tmp_path: Path) -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(6, 4, 3, 3))

        def forward(self, x: Tensor) -> Tensor:
            scale = self.weight.abs().mean((1, 2, 3), keepdim=True)
            return F.conv2d(torch.where(x >= 0, 1.0, -1.0), scale * torch.sign(self.weight))

    network = nn.Sequential(Own(), nn.BatchNorm2d(6))
    path = export_onnx(settled(network), torch.zeros(1, 4, 5, 5), tmp_path / "model.onnx")
    model = assert_answers(network, (4, 5, 5), path)
    assert [node.op_type for node in model.graph.node] == ["Binarize", "BinaryConv2d"]


@pytest.mark.parametrize("operator_name", ["CumSum", "com.microsoft::Gelu"])
def test_a_layer_may_say_which_node_stands_for_it(operator_name: str, tmp_path: Path) -> None:
    class Taught(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            if not torch.compiler.is_exporting():
                return F.gelu(x) if "microsoft" in operator_name else torch.cumsum(x, 1)
            if "microsoft" in operator_name:
                return torch.onnx.ops.symbolic(operator_name, [x], dtype=x.dtype, shape=x.shape, version=1)
            return torch.onnx.ops.symbolic("CumSum", [x, torch.tensor(1)], dtype=x.dtype, shape=x.shape)

    network = nn.Sequential(nn.ReLU(), Taught())
    path = export_onnx(network.eval(), torch.randn(2, 3, 4, 4), tmp_path / "model.onnx")
    model = assert_answers(network, (3, 4, 4), path)
    assert [(node.name, node.domain) for node in model.graph.node][1:] == [("1", operator_name.rpartition("::")[0])]


def test_dicts_tuples_and_several_inputs_keep_their_names(tmp_path: Path) -> None:
    class Heads(nn.Module):
        def forward(self, image: Tensor, extra: Tensor) -> dict[str, Any]:
            return {"boxes": image + extra, "scores": (image.mean(1), extra)}

    x, y = torch.randn(3, 4), torch.randn(3, 4)
    path = export_onnx(Heads(), (x, y), tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(path)
    assert [entry.name for entry in session.get_inputs()] == ["image", "extra"]
    assert [entry.name for entry in session.get_outputs()] == ["boxes", "scores.0", "scores.1"]
    boxes, means, same = session.run(None, {"image": x.numpy(), "extra": y.numpy()})
    np.testing.assert_array_equal(boxes, (x + y).numpy())
    np.testing.assert_allclose(means, x.mean(1).numpy(), rtol=1e-6)
    np.testing.assert_array_equal(same, y.numpy())
    pair = export_onnx(Step(lambda x: (x + 1, x * 2)), x, tmp_path / "pair.onnx", output_name="y")
    assert [entry.name for entry in onnx.load(pair).graph.output] == ["y.0", "y.1"]


MODELS = [
    ("digits_resnet", (1, 8, 8)),
    ("resnet18", (3, 32, 32)),
    ("mlp", (1, 28, 28)),
    ("float_resnet20", (3, 32, 32)),
]


@pytest.mark.parametrize(("name", "shape"), MODELS)
def test_both_ways_write_the_same_file(name: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    """Packed at once, and folded to a plain file that is packed afterwards: the same constants, bit for bit."""
    network, x = settled(build_model(name)), torch.zeros(2, *shape)
    assert_same(export_onnx(network, x, tmp_path / "torch.onnx"), packed(folded(network, x, tmp_path)))


@pytest.mark.parametrize("options", [{"int8_weights": True}, {"exact_stem": True}])
def test_options_write_the_same_file_both_ways(options: dict[str, Any], tmp_path: Path) -> None:
    network = settled(build_model("digits_resnet"))
    options |= {"pixels": Pixels((0.4,), (0.3,), 16.0)}
    x = torch.zeros(2, 8, 8, 1, dtype=torch.uint8)
    path = export_onnx(network, x, tmp_path / "torch.onnx", **options)
    assert_same(path, packed(folded(network, x, tmp_path, **options)))


def test_what_reads_signs_in_a_way_of_its_own_is_packed_again(tmp_path: Path) -> None:
    """Only the file says that these layers count: a mirrored border, and weights that are one number a channel."""
    network = nn.Sequential(
        nn.Conv2d(4, 4, 1, groups=4), nn.ReLU(), RSign(4), nn.ReflectionPad2d(1), BinaryConv2d(4, 6, 3), RPReLU(6)
    )
    x = torch.randn(2, 4, 6, 6)
    path = export_onnx(settled(network), x, tmp_path / "torch.onnx")
    assert_same(path, packed(folded(network, x, tmp_path)))


def assert_same(*paths: Path) -> None:
    first, second = (onnx.load(path) for path in paths)
    names = [[(node.op_type, node.name, list(node.output)) for node in model.graph.node] for model in (first, second)]
    assert names[0] == names[1]
    assert [e.name for e in first.graph.input] == [e.name for e in second.graph.input]
    constants = [{t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer} for model in (first, second)]
    assert set(constants[0]) == set(constants[1])
    for key, values in constants[0].items():
        assert values.dtype == constants[1][key].dtype
        assert values.tobytes() == constants[1][key].tobytes(), key


def test_code_reads_the_weight_of_a_layer_as_it_is(tmp_path: Path) -> None:
    """Its type and shape, and its values, while the file holds it packed."""

    def answer(x: Tensor, sign: nn.Module, layer: BinaryLinear) -> Tensor:
        assert layer.weight.shape == (5, 4)
        return layer(sign(x.to(layer.weight.dtype))) + F.linear(x, layer.weight)

    network, x = Step(answer, RSign(4), BinaryLinear(4, 5)).eval(), torch.randn(6, 4)
    path = export_onnx(network, x, tmp_path / "m.onnx")
    (found,) = InferenceSession(path).run(None, {"input": x.numpy()})
    np.testing.assert_allclose(found, network(x).detach().numpy(), rtol=1e-5, atol=1e-6)
    names = {tensor.name: tensor.data_type for tensor in onnx.load(path).graph.initializer}
    assert names["parts.1.weight"] == onnx.TensorProto.UINT8
