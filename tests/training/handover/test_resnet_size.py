"""The figures of docs/export.md: what a ResNet-18 for 1,000 classes weighs as a file, and that it exports quickly."""

from pathlib import Path

import onnx
import pytest
import torch

from latentbit.export import export_onnx
from latentbit.training.models.catalogue import build_model

FLOAT_MB = 46.8
DOCS = Path(__file__).parents[3] / "docs" / "export.md"


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    return build_model("resnet18", in_channels=3, num_classes=1000, stem="imagenet").eval()


@pytest.mark.parametrize(("int8_weights", "limit", "row"), [(False, 4.3, "4.28"), (True, 2.3, "2.21")])
def test_size(network: torch.nn.Module, int8_weights: bool, limit: float, row: str, tmp_path: Path) -> None:
    example = torch.zeros(1, 3, 224, 224)
    path = export_onnx(network, example, tmp_path / "m.onnx", int8_weights=int8_weights)
    megabytes = path.stat().st_size / 1e6
    assert megabytes <= limit
    assert f"{megabytes:.2f}" == row
    assert f" {row} |" in DOCS.read_text(encoding="utf-8")
    parameters = sum(parameter.numel() for parameter in network.parameters())
    assert round(parameters * 4 / 1e6, 1) == pytest.approx(FLOAT_MB, abs=0.1)
    binary = [node for node in onnx.load(path).graph.node if node.op_type == "BinaryConv2d"]
    assert len(binary) == 16
