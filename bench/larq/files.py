"""Write the models of latentbit that bench/larq/lce.py measures: with the exporter, so without tensorflow.

    python -m bench.larq.files [--out runs/larq]

Two binary ResNet-18, and chains of four convolutions for every shape of bench/kernels/convolutions.py in two forms: the
sign of each goes into the next (bits between), or a shortcut goes around each as in Bi-Real Net, which needs the
floats. Pads are ones, the rule under which Larq Compute Engine needs no correction. All numbers are small multiples of
powers of two: float32 holds every sum exactly, so two engines must agree to the last bit however they order the
arithmetic.
"""

import argparse
from pathlib import Path

import numpy as np
import onnx

from latentbit.runtime.bits import DOMAIN, sign
from tests.support.graph import Graph

from ..harness.networks import binary_resnet18
from ..kernels.convolutions import CHAIN, SHAPES

FORMS = {"bits between": False, "a shortcut around each": True}


def chain(name: str, channels: int, size: int, kernel: int, shortcut: bool) -> bytes:
    """Return a chain of CHAIN binary convolutions, floats in and floats out; ``name`` becomes that of the graph."""
    rng, graph, value = np.random.default_rng(0), Graph(), "input"
    zero = graph.constant(np.zeros((channels, 1, 1), np.float32))
    geometry = {"strides": [1, 1], "pads": [kernel // 2] * 4, "dilations": [1, 1], "group": 1, "pad_value": 1.0}
    for _ in range(CHAIN):
        weight = sign(rng.standard_normal((channels, channels, kernel, kernel)))
        scale, bias = np.exp2(rng.integers(-6, -3, channels)), rng.integers(-64, 65, channels) / 256
        signs = graph.node("Binarize", [value, zero], DOMAIN)
        result = graph.binary("BinaryConv2d", signs, weight, scale, bias, **geometry)
        value = graph.node("Add", [result, value]) if shortcut else result
    image = [1, channels, size, size]
    model = graph.build({"input": image}, {value: image}, name=name)
    return onnx.shape_inference.infer_shapes(model).SerializeToString()


def main() -> None:
    """Write the chains and the networks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/larq"))
    folder = parser.parse_args().out
    folder.mkdir(parents=True, exist_ok=True)
    for number, (form, shortcut) in enumerate(FORMS.items()):
        for index, (name, *geometry) in enumerate(SHAPES):
            data = chain(f"{name}, {form}", *geometry, shortcut)
            (folder / f"chain-{number}-{index:02}.onnx").write_bytes(data)
    binary_resnet18(folder / "resnet18-float-stem.onnx", 224, stem="imagenet")
    binary_resnet18(folder / "resnet18-exact.onnx", 224, stem="imagenet", exact=True)
    print(f"{len(list(folder.glob('*.onnx')))} models in {folder}")


if __name__ == "__main__":
    main()
