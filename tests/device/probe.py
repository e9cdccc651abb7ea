"""What the runtime answers on a machine: ``python probe.py CASES BUNDLE...`` prints one JSON object.

It needs nothing but the device's packages. One process does everything, because on an emulated machine importing numba
and compiling the kernels take most of the time.
"""

import hashlib
import json
import platform
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from latentbit.runtime import InferenceSession
from latentbit.runtime.proof.bundle import open_bundle
from latentbit.runtime.proof.device import check_bundle

__all__ = ["answers", "conformance"]


def conformance(folder: Path, kernel: str | None = None) -> dict[str, Any]:
    """Run the conformance suite, with a kernel preferred: how many cases, what ran them, what came out wrong.

    ``kernels`` are those of binary layers, ``others`` all else.
    """
    wrong, count, kernels, others = [], 0, set[str](), set[str]()
    for model in sorted(folder.glob("*/*/model.onnx")):
        data = model.parent / "test_data_set_0"
        inputs = [numpy_helper.to_array(onnx.load_tensor(file)) for file in sorted(data.glob("input_*.pb"))]
        expected = numpy_helper.to_array(onnx.load_tensor(data / "output_0.pb"))
        session = InferenceSession(model, kernel=kernel)
        for step in session.get_steps():
            (kernels if step.kind == "binary" else others).add(step.kernel)
        feeds = dict(zip((entry.name for entry in session.get_inputs()), inputs, strict=True))
        result = session.run(None, feeds)[0]
        tolerance = 0.0 if "exact" in model.parts else 1e-5
        if not np.allclose(result, expected, rtol=tolerance, atol=tolerance):
            wrong.append(model.parent.name)
        count += 1
    return {"cases": count, "kernels": sorted(kernels), "others": sorted(others), "wrong": wrong}


def answers(path: Path) -> dict[str, Any]:
    """Check a bundle, and add what it does not report.

    ``integers``, the sha256 of each layer's accumulators on all images, ``logits``, the kernel of an exact stem's
    ``sums`` and the ``reasons`` of the others.
    """
    report = check_bundle(path, oracle_samples=8, latency_runs=3).to_json()
    with open_bundle(path) as bundle:
        session = InferenceSession(bundle.model)
        with np.load(bundle.reference, allow_pickle=False) as reference:
            feeds = {session.get_inputs()[0].name: reference["inputs"]}
        traces = session.trace(feeds)
        report["integers"] = {layer.name: _digest(layer.accumulators) for layer in traces}
        report["logits"] = session.run(None, feeds)[0].tolist()
        report["sums"] = sorted({step.kernel for step in session.get_steps() if step.kind == "integer"})
        report["reasons"] = sorted({step.reason for step in session.get_steps() if step.kind == "binary"})
    return report


def _digest(array: np.ndarray[Any, np.dtype[np.int32]]) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


if __name__ == "__main__":
    found = {
        "machine": platform.machine(),
        "conformance": conformance(Path(sys.argv[1])),
        "look-ups": conformance(Path(sys.argv[1]), "tbl" if platform.machine() == "aarch64" else None),
        "portable": conformance(Path(sys.argv[1]), "ctp"),
        "bundles": {Path(name).stem: answers(Path(name)) for name in sys.argv[2:]},
        "jit": "llvmlite" in sys.modules,
    }
    json.dump(found, sys.stdout)
