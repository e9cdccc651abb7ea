"""Run the conformance suite with the runtime: ``python conformance.py CASES [KERNEL]``, on any machine, without pytest.

Prints one JSON object: how many cases ran, the kernels that ran them, and the cases that came out wrong.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from latentbit.runtime import InferenceSession


def main() -> None:
    wrong, count, kernels = [], 0, set()
    for model in sorted(Path(sys.argv[1]).glob("*/*/model.onnx")):
        data = model.parent / "test_data_set_0"
        inputs = [numpy_helper.to_array(onnx.load_tensor(file)) for file in sorted(data.glob("input_*.pb"))]
        expected = numpy_helper.to_array(onnx.load_tensor(data / "output_0.pb"))
        session = InferenceSession(model)
        kernels |= {step.kernel for step in session.get_steps()}
        (result,) = session.run(None, dict(zip((entry.name for entry in session.get_inputs()), inputs, strict=True)))
        tolerance = 0.0 if "exact" in model.parts else 1e-5
        if not np.allclose(result, expected, rtol=tolerance, atol=tolerance):
            wrong.append(str(model.parent.name))
        count += 1
    json.dump({"cases": count, "kernels": sorted(kernels), "wrong": wrong}, sys.stdout)


if __name__ == "__main__":
    main()
