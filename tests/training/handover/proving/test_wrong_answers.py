"""No export answers wrong: of networks that once did, each is refused in one line, and nothing written, or is right."""

import operator
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from latentbit.export import export_onnx
from latentbit.runtime import InferenceSession
from latentbit.runtime.errors import LatentbitError

from ....support.step import Step


def _norm() -> nn.Module:
    norm = nn.BatchNorm1d(6)
    nn.init.normal_(norm.running_mean)  # type: ignore[arg-type]
    return norm


def _forward_hook() -> nn.Module:
    net = nn.Sequential(nn.Conv2d(2, 2, 1), nn.ReLU())
    net[0].register_forward_hook(lambda module, arguments, result: result * 2)
    return net


def _pre_hook() -> nn.Module:
    net = nn.Sequential(nn.Conv2d(2, 2, 1), nn.ReLU())
    net.register_forward_pre_hook(lambda module, arguments: (arguments[0] * 2,))
    return net


def _aliased(x: Tensor, conv: nn.Module, relu: nn.Module) -> Tensor:
    y = conv(x)
    return relu(y) + y  # type: ignore[no-any-return]


def _skipped(x: Tensor, conv: nn.Module, block: nn.Module) -> Tensor:
    y = conv(x)
    return torch.cat([block(y), y], 1)


def _added(x: Tensor, conv: nn.Module) -> Tensor:
    y = conv(x)
    return operator.iadd(y, 1.0) * y  # type: ignore[no-any-return]


def _frames(x: Tensor) -> Tensor:
    return (x.reshape(-1, x.shape[2]) * 2).view(x.shape[0], x.shape[1], x.shape[2])


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "in-place ReLU, its input read again": (
        lambda: Step(_aliased, nn.Conv2d(2, 3, 1), nn.ReLU(inplace=True)),
        (2, 2, 4, 4),
    ),
    "in-place block beside a skip": (
        lambda: Step(_skipped, nn.Conv2d(2, 3, 1), nn.Sequential(nn.LeakyReLU(0.2, True), nn.Conv2d(3, 3, 1))),
        (2, 2, 4, 4),
    ),
    "in-place addition": (lambda: Step(_added, nn.Conv2d(2, 3, 1)), (2, 2, 4, 4)),
    "a norm behind a Linear over three axes": (lambda: nn.Sequential(nn.Linear(5, 6), _norm()), (2, 6, 5)),
    "a scale that does not divide": (lambda: nn.Upsample(scale_factor=1.5, mode="bilinear"), (2, 2, 7, 7)),
    "divisor_override": (lambda: nn.AvgPool2d(2, divisor_override=1), (2, 2, 4, 4)),
    "divisor_override of the function": (
        lambda: Step(lambda x: F.avg_pool2d(x, 2, divisor_override=3)),
        (1, 1, 4, 4),
    ),
    "Softmax without a dim": (nn.Softmax, (2, 3, 4, 4)),
    "log_softmax without a dim": (lambda: Step(lambda x: F.log_softmax(x)), (2, 3, 4, 5)),
    "a forward hook": (_forward_hook, (2, 2, 4, 4)),
    "a pre-hook of the network": (_pre_hook, (2, 2, 4, 4)),
    "a reshape that fixes the batch": (lambda: Step(lambda x: x.reshape(2, -1)), (1, 4, 4)),
    "frames in the batch": (lambda: Step(_frames), (2, 3, 4)),
    "the batch moved away": (lambda: Step(lambda x: x.permute(2, 0, 1).reshape(x.size(0), -1)), (2, 5, 6)),
    "a size that does not divide": (lambda: nn.Upsample(size=(13, 13)), (2, 2, 7, 7)),
    "a window that begins in the padding": (lambda: nn.MaxPool2d(2, 2, 1, ceil_mode=True), (2, 2, 7, 7)),
    "a clamp by a tensor": (
        lambda: Step(lambda x, bound: torch.clamp(x, max=bound.weight[:, :, None, None]), nn.Linear(2, 1)),
        (2, 2, 3, 3),
    ),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", NETWORKS)
def test_no_export_answers_wrong(name: str, tmp_path: Path) -> None:
    make, shape = NETWORKS[name]
    torch.manual_seed(0)
    net, x, path = make().eval(), torch.randn(shape), tmp_path / "m.onnx"
    refusal = None
    try:
        export_onnx(net, x, path)
    except LatentbitError as error:
        refusal = str(error)
    if refusal is not None:
        assert "\n" not in refusal
        assert list(tmp_path.iterdir()) == []
        return
    with torch.no_grad():
        expected = net(x.clone()).numpy()
    for session in (InferenceSession(path), onnxruntime.InferenceSession(path)):
        (found,) = session.run(None, {"input": x.numpy()})
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
