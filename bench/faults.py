"""The power of the accuracy check: which single faults in a model file it finds.

    python -m bench.faults BUNDLE.zip ... [--count 300] [--seed 0] [--output bench/results/faults.json]

Each fault is one change of a file that passes: a weight bit, a scale that is 5% off, a threshold that is off by a tenth
of the spread of all thresholds of its layer (where they are equal: 0.1). Place and channel are drawn. A fault that
changes no sign and no output of any recorded image cannot be seen by any check on these images; such faults are counted
apart. The self-test that a file may carry would find more, so it is taken out: these are the figures of the check.
Prints a Markdown table.
"""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from latentbit.runtime.bits import DOMAIN
from latentbit.runtime.files import write_json
from latentbit.runtime.machine.environment import environment
from latentbit.runtime.operators import LAYERS
from latentbit.runtime.proof.accuracy import check
from latentbit.runtime.proof.bundle import Bundle, open_bundle
from latentbit.runtime.proof.reference import load_reference
from latentbit.runtime.proof.tolerances import Tolerances
from latentbit.runtime.session import InferenceSession
from latentbit.runtime.session.self_test import KEY

from .harness.report import command_line

Damage = Callable[[NDArray[np.generic], np.random.Generator], None]


def weight_bit(packed: NDArray[np.generic], rng: np.random.Generator) -> None:
    """Turn one bit; those behind the last channel are among them where the channels fill no byte."""
    flat = packed.reshape(-1)
    flat[rng.integers(flat.size)] ^= np.uint8(1 << rng.integers(8))


def scale(values: NDArray[np.generic], rng: np.random.Generator) -> None:
    """Make the scale of one channel 5% larger."""
    values.reshape(-1)[rng.integers(values.size)] *= np.float32(1.05)


def threshold(values: NDArray[np.generic], rng: np.random.Generator) -> None:
    """Move one threshold."""
    spread = float(np.ptp(values)) or 1.0
    values.reshape(-1)[rng.integers(values.size)] += np.float32(0.1 * spread)


FAULTS: dict[str, tuple[Damage, frozenset[str], int]] = {
    "weight bit": (weight_bit, frozenset(LAYERS), 1),
    "scale 5% off": (scale, frozenset(LAYERS), 2),
    "threshold": (threshold, frozenset({"Binarize"}), 1),
}
"""What is damaged: by which function, in which operators, and which of their inputs."""


def damaged(model: onnx.ModelProto, kind: str, rng: np.random.Generator) -> bytes:
    """Return the file with one fault."""
    damage, operators, place = FAULTS[kind]
    nodes = [node for node in model.graph.node if node.domain == DOMAIN and node.op_type in operators]
    name = nodes[int(rng.integers(len(nodes)))].input[place]
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    tensor = next(entry for entry in changed.graph.initializer if entry.name == name)
    values = numpy_helper.to_array(tensor).copy()
    damage(values, rng)
    tensor.CopyFrom(numpy_helper.from_array(values, name))
    return changed.SerializeToString()


def seen(session: InferenceSession, inputs: NDArray[np.generic]) -> bytes:
    """Return all that a model shows of itself on these inputs: its outputs, and the signs that its layers read."""
    feeds = {session.get_inputs()[0].name: inputs}
    shown = [*session.run(None, feeds), *(layer.signs for layer in session.trace(feeds))]
    return b"".join(value.tobytes() for value in shown)


def measure(bundle: Bundle, kind: str, count: int, seed: int) -> dict[str, int]:
    """Return how many faults of a kind were tried, how many show at all, and how many of these the check found."""
    recorded = load_reference(bundle.reference)
    model = onnx.load(bundle.model)
    for entry in [entry for entry in model.metadata_props if entry.key == KEY]:
        model.metadata_props.remove(entry)
    whole = seen(InferenceSession(bundle.model), recorded.inputs)
    allowed = Tolerances(oracle_samples=1, latency_runs=1)
    rng = np.random.default_rng(seed)
    tally = {"tried": 0, "visible": 0, "found": 0}
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "model.onnx"
        while tally["tried"] < count:
            path.write_bytes(damaged(model, kind, rng))
            tally["tried"] += 1
            if seen(InferenceSession(path), recorded.inputs) == whole:
                continue
            tally["visible"] += 1
            tally["found"] += not check(path, bundle.reference, allowed).passed
    return tally


def main() -> None:
    """Measure, print the table, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path, nargs="+")
    parser.add_argument("--count", type=int, default=300, help="faults of each kind in each bundle")
    parser.add_argument("--kind", choices=tuple(FAULTS), action="append", help="only these kinds")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, help="write the figures here (.json)")
    options = parser.parse_args()
    print("| bundle | fault | tried | visible | found |\n| --- | --- | --- | --- | --- |")
    found: dict[str, dict[str, dict[str, int]]] = {}
    for path in options.bundle:
        with open_bundle(path) as bundle:
            for kind in options.kind or FAULTS:
                tally = measure(bundle, kind, options.count, options.seed)
                found.setdefault(path.stem, {})[kind] = tally
                print(
                    f"| {path.stem} | {kind} | {tally['tried']} | {tally['visible']} | {tally['found']} |", flush=True
                )
    if options.output is not None:
        figures = {"command": command_line(), "faults": found, "environment": environment()}
        write_json(options.output, figures)


if __name__ == "__main__":
    main()
