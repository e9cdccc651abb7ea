"""Forms of torch that ONNX writes otherwise, each found by a random network: the file answers as the module does."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from latentbit.export import export_onnx
from latentbit.runtime import InferenceSession

from ...support.random_layers import Step

FORMS: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "squeeze of an axis that is not 1": (Step(lambda x: (x * 2).squeeze(1)), (3, 4)),
    "squeeze of such an axis of the input": (Step(lambda x: x.squeeze(1)), (3, 4)),
    "squeeze of several axes, not all of them 1": (Step(lambda x: x.squeeze((1, 2))), (1, 4)),
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
