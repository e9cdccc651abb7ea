"""Forms of torch that ONNX writes otherwise, each found by a random network: the file answers as the module does."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from latentbit.export import export_onnx
from latentbit.runtime import InferenceSession
from latentbit.runtime.errors import UnsupportedError
from latentbit.training import BinaryConv2d, RSign

from ...support.step import Step


def attention(x: Tensor, *mask: Tensor, **options: bool) -> Tensor:
    return F.scaled_dot_product_attention(x, x, x, *mask, **options)


class Answers(nn.Module):
    """Returns what ``make`` makes of the input."""

    def __init__(self, make: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.make = make

    def forward(self, x: Tensor) -> Any:
        return self.make(x * 2)


def at_several_places(x: Tensor, stem: nn.Module, float_layer: nn.Module, head: nn.Module) -> Tensor:
    """Call a binary head on what is computed last first, as a detector does on its levels."""
    low = stem(x)
    high = float_layer(low)
    return torch.cat([head(F.hardswish(high)), head(high), head(low)], 1)


FORMS: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "squeeze of an axis that is not 1": (Step(lambda x: (x * 2).squeeze(1)), (3, 4)),
    "squeeze of such an axis of the input": (Step(lambda x: x.squeeze(1)), (3, 4)),
    "squeeze of several axes, not all of them 1": (Step(lambda x: x.squeeze((1, 2))), (1, 4)),
    "global max pool": (nn.AdaptiveMaxPool2d(1), (2, 5, 3)),
    "adaptive max pool": (nn.AdaptiveMaxPool2d((2, 3)), (2, 4, 6)),
    "adaptive max pool over time": (nn.AdaptiveMaxPool1d(3), (2, 6)),
    "binary head called at several places": (
        Step(
            at_several_places,
            nn.Conv2d(3, 8, 3, padding=1),
            nn.Sequential(RSign(8), BinaryConv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 1)),
            nn.Sequential(RSign(8), BinaryConv2d(8, 8, 3, padding=1)),
        ),
        (3, 8, 8),
    ),
    "RReLU": (nn.RReLU(), (2, 6)),
    "attention without heads": (Step(attention), (5, 8)),
    "attention without heads, masked": (Step(lambda x: attention(x, x @ x.mT)), (5, 8)),
    "attention without heads, causal": (Step(lambda x: attention(x, is_causal=True)), (5, 8)),
}


@pytest.mark.parametrize("form", FORMS)
def test_the_file_answers_as_the_module(form: str, tmp_path: Path) -> None:
    network, shape = FORMS[form]
    path = export_onnx(network.eval(), torch.randn(2, *shape), tmp_path / "model.onnx")
    x = torch.randn(3, *shape)
    with torch.no_grad():
        expected: Tensor = network(x.clone())
    (found,) = InferenceSession(path).run(None, {"input": x.numpy()})
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected.numpy(), rtol=2e-5, atol=5e-6)


@pytest.mark.parametrize("size", [1, 4, (7, 5), (None, 1), (3, None)])
def test_the_windows_of_an_adaptive_average_follow_the_size_of_the_image(size: Any, tmp_path: Path) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.AdaptiveAvgPool2d(size)).eval()
    path = export_onnx(network, torch.randn(2, 3, 16, 16), tmp_path / "model.onnx", dynamic_spatial=True)
    for height, width in ((16, 16), (17, 32), (5, 9), (3, 2)):
        x = torch.randn(2, 3, height, width)
        (found,) = InferenceSession(path).run(None, {"input": x.numpy()})
        np.testing.assert_allclose(found, network(x).detach().numpy(), rtol=2e-5, atol=5e-6)


def test_an_adaptive_maximum_of_another_size_is_refused(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.AdaptiveMaxPool2d(4))
    with pytest.raises(UnsupportedError, match=r"^adaptive max pools to more than one value need a fixed image size"):
        export_onnx(network, torch.randn(2, 3, 16, 16), tmp_path / "model.onnx", dynamic_spatial=True)


def test_the_weights_of_an_lstm_are_constants_of_its_node(tmp_path: Path) -> None:
    network = Step(lambda x, cell: cell(x)[0], nn.LSTM(4, 6, batch_first=True))
    model = onnx.load(export_onnx(network.eval(), torch.randn(2, 3, 4), tmp_path / "model.onnx"))
    (lstm,) = (node for node in model.graph.node if node.op_type == "LSTM")
    assert set(lstm.input[1:4]) <= {tensor.name for tensor in model.graph.initializer}


def test_an_output_that_is_none_is_left_out(tmp_path: Path) -> None:
    network = Answers(lambda y: {"first": y, "auxiliary": None, "more": [None, y + 1]})
    path = export_onnx(network, torch.randn(2, 3), tmp_path / "model.onnx")
    assert [output.name for output in InferenceSession(path).get_outputs()] == ["first", "more.1"]


@pytest.mark.parametrize("value", [3, "label"])
def test_an_output_that_is_no_tensor_is_refused_by_name(value: Any, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match=r"forward\(\) returns logits\.1, which is no tensor"):
        export_onnx(Answers(lambda y: (y, value)), torch.randn(2, 3), tmp_path / "model.onnx")


@pytest.mark.filterwarnings("ignore")
def test_torchscript_is_refused_by_name(tmp_path: Path) -> None:
    x, plain = torch.randn(2, 3), nn.Sequential(nn.Linear(3, 3), nn.ReLU()).eval()
    for network in (torch.jit.trace(plain, x), torch.jit.script(plain), nn.Sequential(torch.jit.script(plain))):
        with pytest.raises(
            UnsupportedError, match="TorchScript cannot be exported; give the module that it was made of"
        ):
            export_onnx(network, x, tmp_path / "model.onnx")
