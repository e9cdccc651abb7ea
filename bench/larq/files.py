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
from onnx import helper, numpy_helper

from latentbit.export.opset import functions
from latentbit.runtime.bits import DOMAIN, pack_conv_weight

from ..harness.networks import binary_resnet18
from ..kernels.convolutions import CHAIN, SHAPES

FORMS = {"bits between": False, "a shortcut around each": True}
FLOAT = onnx.TensorProto.FLOAT


def chain(name: str, channels: int, size: int, kernel: int, shortcut: bool) -> bytes:
    """Return a chain of CHAIN binary convolutions, floats in and floats out; ``name`` becomes that of the graph."""
    rng = np.random.default_rng(0)
    constants: dict[str, np.ndarray] = {"zero": np.zeros((channels, 1, 1), np.float32)}
    nodes, value = [], "input"
    shape = [channels, channels, kernel, kernel]
    geometry = {"strides": [1, 1], "pads": [kernel // 2] * 4, "dilations": [1, 1], "group": 1, "pad_value": 1.0}
    for index in range(CHAIN):
        constants[f"w{index}"] = pack_conv_weight(rng.standard_normal(shape))
        constants[f"s{index}"] = np.exp2(rng.integers(-6, -3, channels)).astype(np.float32)
        constants[f"b{index}"] = (rng.integers(-64, 65, channels) / 256).astype(np.float32)
        inputs = [f"signs{index}", f"w{index}", f"s{index}", f"b{index}"]
        nodes += [
            helper.make_node("Binarize", [value, "zero"], [f"signs{index}"], domain=DOMAIN),
            helper.make_node(
                "BinaryConv2d", inputs, [f"y{index}"], f"conv{index}", domain=DOMAIN, weight_shape=shape, **geometry
            ),
        ]
        if shortcut:
            nodes.append(helper.make_node("Add", [f"y{index}", value], [f"sum{index}"]))
        value = f"sum{index}" if shortcut else f"y{index}"
    image = [1, channels, size, size]
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("input", FLOAT, image)],
        [helper.make_tensor_value_info(value, FLOAT, image)],
        [numpy_helper.from_array(array, key) for key, array in constants.items()],
    )
    imports = [helper.make_opsetid("", 18), helper.make_opsetid(DOMAIN, 1)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=8, functions=functions())
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
