"""Larq Compute Engine beside latentbit: single binary convolutions, and a binary ResNet-18 at 224².

    tox -e larq-models,larq                               # both environments, one after the other
    python -m bench.larq.lce [--runs 20] [--models runs/larq]  # the second alone

Two environments, for latentbit's exporter and tensorflow exclude each other (they ask for different ml-dtypes): the
first writes the models (bench/larq/files.py). The runtime and tensorflow get along, so both engines run by turns in one
process, after a warm-up, one thread, in CPU time of that thread, from floats to floats.

Before any time is taken: latentbit's integers are compared with the oracle; the engine's convolution with numpy's on
the same ±1 inputs; both engines' results on every chain with each other, bit for bit; the engine's network with the
floats of larq.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from latentbit.runtime.bits import sign, unpack_conv_weight
from latentbit.runtime.proof.oracle import layer_oracle
from latentbit.runtime.session.session import InferenceSession
from tests.support.integers import accumulate_conv

from ..harness.report import RESULTS, Times, write_report
from ..harness.timing import by_turns
from .twins import TUNED, chain_twin, engine, lone_twin, resnet18

NETWORKS = {"7×7 float stem": "resnet18-float-stem.onnx", "exact": "resnet18-exact.onnx"}
ENGINE = "Larq Compute Engine"


def session_call(data: bytes, x: np.ndarray) -> Callable[[], np.ndarray]:
    """Return a run of latentbit after its integers were compared with the oracle, layer by layer."""
    session, oracle = InferenceSession(data), layer_oracle(data)
    for layer in session.trace({"input": x}):
        assert np.array_equal(oracle(layer.name, layer.signs), layer.accumulators), f"integers of {layer.name} differ"
    return lambda: session.run(None, {"input": x})[0]


def integers(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    """Return what the first convolution makes of sign(x), x [1, H, W, C], padded with ones, by its definition."""
    node = next(node for node in model.graph.node if node.op_type == "BinaryConv2d")
    packed = next(numpy_helper.to_array(tensor) for tensor in model.graph.initializer if tensor.name == node.input[1])
    shape = next(tuple(attribute.ints) for attribute in node.attribute if attribute.name == "weight_shape")
    weight = unpack_conv_weight(packed, shape)
    signs = sign(x).astype(np.int64).transpose(0, 3, 1, 2)
    return accumulate_conv(signs, weight, pads=(shape[-1] // 2,) * 4, pad_value=1).transpose(0, 2, 3, 1)


def chains(folder: Path, runs: int) -> Times:
    """Return microseconds of one convolution by chain and engine."""
    rows = {}
    for path in sorted(folder.glob("chain-*.onnx")):
        model = onnx.load(path)
        shape = [size.dim_value for size in model.graph.input[0].type.tensor_type.shape.dim]
        x = (np.random.default_rng(1).integers(-512, 513, shape) / 256).astype(np.float32)  # exact, as the weights are
        pixels = np.ascontiguousarray(x.transpose(0, 2, 3, 1))
        ours = session_call(path.read_bytes(), x)
        theirs = engine(chain_twin(model), pixels, **TUNED)
        lone = engine(lone_twin(model), pixels, **TUNED)()
        assert np.array_equal(lone, integers(model, pixels)), f"{model.graph.name}: its convolution is not numpy's"
        assert np.array_equal(theirs().transpose(0, 3, 1, 2), ours()), f"{model.graph.name}: its results are not ours"
        length = sum(node.op_type == "BinaryConv2d" for node in model.graph.node)
        times = by_turns({"latentbit": ours, ENGINE: theirs}, runs)
        rows[model.graph.name] = {name: [t * 1e3 / length for t in values] for name, values in times.items()}
    return rows


def networks(folder: Path, size: int, runs: int) -> Times:
    """Return milliseconds an image by network of ours and engine."""
    data, floats = resnet18(size)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, 3, size, size)).astype(np.float32)
    photo = rng.integers(0, 256, (1, size, size, 3), np.uint8)
    pixels = np.ascontiguousarray(x.transpose(0, 2, 3, 1))
    theirs = {ENGINE: engine(data, pixels, **TUNED), f"{ENGINE}, default": engine(data, pixels)}
    expected = floats(pixels)
    for name, call in theirs.items():
        # Measured 6e-4 of 190: the order of the float sums of stem and shortcuts; one wrong layer changes everything.
        assert np.abs(call() - expected).max() < 1e-4 * np.abs(expected).max(), f"{name}: not what larq answers"
    ours = {
        name: session_call((folder / file).read_bytes(), photo if name == "exact" else x)
        for name, file in NETWORKS.items()
    }
    times = by_turns({**ours, **theirs}, runs)
    return {f"latentbit, {name}": {"latentbit": times[name], **{n: times[n] for n in theirs}} for name in ours}


def main() -> None:
    """Measure, print and write both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--models", type=Path, default=Path("runs/larq"))
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    if not list(options.models.glob("*.onnx")):
        parser.error(f"no models in {options.models}: write them with tox -e larq-models, or bench/larq/files.py")
    rows = chains(options.models, options.runs)
    title = "One convolution of a chain of four, one thread, microseconds"
    write_report(options.out / "larq-convolutions", title, rows, "latentbit")
    rows = networks(options.models, 224, options.runs)
    title = "ResNet-18 224², batch 1, threads 1, milliseconds an image"
    write_report(options.out / "larq-resnet18", title, rows, "latentbit", digits=2)


if __name__ == "__main__":
    main()
