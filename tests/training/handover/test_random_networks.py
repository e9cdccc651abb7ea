"""Random networks of torch's vocabulary answer in the file as in eager torch, or are refused for a known reason."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import HealthCheck, Phase, event, given, settings
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from latentbit.export import export_onnx
from latentbit.runtime import InferenceSession
from latentbit.runtime.errors import ConfigError, UnsupportedError
from latentbit.training import RSign, binarize

from ...support.random_networks import networks

REFUSED: tuple[str, ...] = ()
"""Reasons for which a network of this vocabulary may be refused, as regular expressions."""

REFUSED_LARGER = (
    "does not accept an input of another batch or image size",
    "a padded pool with ceil_mode needs a fixed image size",
)
"""The same for an export that leaves the image size free."""

_NEAR = 1e-5
"""How far from its threshold rounding may turn a sign, as a share of the largest value beside it."""


def near_a_threshold(network: nn.Module, x: Tensor) -> NDArray[np.bool_]:
    """Return for each sample whether a sign of the eager network lies on its threshold but for rounding."""
    near = np.zeros(len(x), np.bool_)

    def look(sign: nn.Module, arguments: tuple[Tensor], _: Any) -> None:
        values = arguments[0].detach().double()
        threshold = sign.get_parameter("threshold").detach().double()
        apart = (values.movedim(1, -1) - threshold).abs().reshape(len(x), -1)
        near[apart.min(1)[0].numpy() <= _NEAR * float(values.abs().max().clamp(min=1e-30))] = True

    handles = [part.register_forward_hook(look) for part in network.modules() if isinstance(part, RSign)]
    with torch.no_grad():
        network(x.clone())
    for handle in handles:
        handle.remove()
    return near


def compare(network: nn.Module, example: Tensor, path: Path, larger: bool = False) -> None:
    """Export, and compare both engines with eager torch on inputs that the proof did not see, ``larger`` if told."""
    try:
        export_onnx(network, example, path, dynamic_spatial=larger)
    except UnsupportedError as error:
        known = [reason for reason in (*REFUSED, *REFUSED_LARGER * larger) if re.search(reason, str(error))]
        if not known:
            raise
        event(f"refused: {known[0]}")
        return
    sizes = [size + 3 * larger for size in example.shape[2:]]
    x = torch.randn(3, example.shape[1], *sizes, generator=torch.Generator().manual_seed(7))
    try:
        steady = ~near_a_threshold(network, x)
    except RuntimeError:
        assert larger  # as a dense layer behind the flattened image
        event("takes images of one size")
        return
    with torch.no_grad():
        expected = [leaf.numpy() for leaf in tree_leaves(network(x.clone())) if isinstance(leaf, Tensor)]
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    engines: list[Callable[..., Any]] = [
        InferenceSession(path).run,
        onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"]).run,
    ]
    for run in engines:
        for right, found in zip(expected, run(None, {"input": x.numpy()}), strict=True):
            assert right.shape == found.shape
            allowed = 1e-4 * np.abs(right).max(initial=0) + 1e-6
            np.testing.assert_allclose(found[steady], right[steady], rtol=0, atol=allowed)
    event("judged" if steady.all() else "a sign near its threshold")


def one(network: nn.Module, example: Tensor, folder: Path) -> None:
    compare(network, example, folder / "float.onnx")
    try:
        binary = binarize(network, example)
    except ConfigError:  # no layer to make binary
        return
    compare(binary.eval(), example, folder / "binary.onnx")
    if example.dim() == 4:
        compare(binary, example, folder / "larger.onnx", larger=True)


same = settings(
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate, Phase.shrink],
)


@settings(same, max_examples=10)
@given(drawn=networks(longest=5))
def test_a_network_answers_in_the_file_as_in_torch(
    tmp_path_factory: pytest.TempPathFactory, drawn: tuple[nn.Module, Tensor]
) -> None:
    one(*drawn, tmp_path_factory.mktemp("random"))


@pytest.mark.slow
@pytest.mark.timeout(3600)
@settings(same, max_examples=300, derandomize=False)
@given(drawn=networks(longest=9))
def test_many_networks_do(tmp_path_factory: pytest.TempPathFactory, drawn: tuple[nn.Module, Tensor]) -> None:
    one(*drawn, tmp_path_factory.mktemp("random"))
