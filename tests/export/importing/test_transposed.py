"""Transposed convolutions of signs are convolutions whose channels become pixels."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from latentbit.export.importing.conversion import convert
from latentbit.runtime import InferenceSession

from ...support.import_graphs import Source, run, sign_form


@st.composite
def cases(draw: Any) -> dict[str, Any]:
    stride = draw(st.integers(1, 3))
    return {
        "seed": draw(st.integers(0, 2**32 - 1)),
        "stride": stride,
        "kernel": [draw(st.integers(stride, 5)), draw(st.integers(stride, 5))],
        "pads": draw(st.lists(st.integers(0, 2), min_size=4, max_size=4)),
        "extra": [draw(st.integers(0, stride - 1)), draw(st.integers(0, stride - 1))],
        "groups": draw(st.sampled_from([1, 2])),
        "bias": draw(st.booleans()),
    }


@settings(max_examples=40, deadline=None)
@given(cases())
def test_transposed_convolutions_answer_as_their_source(case: dict[str, Any]) -> None:
    rng = np.random.default_rng(case["seed"])
    groups, stride = case["groups"], case["stride"]
    g = Source(["N", 4, 5, 6])
    weight = np.where(rng.random((4, 3, *case["kernel"])) < 0.5, 1, -1).astype(np.float32)
    inputs = [sign_form(g, "where >=", "x"), g.constant(weight)]
    if case["bias"]:
        inputs.append(g.constant(rng.integers(-4, 4, 3 * groups).astype(np.float32)))
    y = g(
        "ConvTranspose",
        *inputs,
        strides=[stride] * 2,
        pads=case["pads"],
        output_padding=case["extra"],
        group=groups,
        name="up",
    )
    x = rng.standard_normal((2, 4, 5, 6)).astype(np.float32)
    with TemporaryDirectory() as folder:
        source, target = g.save(Path(folder) / "s.onnx", y, 4), Path(folder) / "t.onnx"
        (layer,) = convert(source, target).layers
        (found,) = InferenceSession(target).run(None, {"x": x})
        np.testing.assert_array_equal(found, run(source, x))
    ends = [
        -(-k // stride) * stride - k - e + p
        for k, e, p in zip(case["kernel"], case["extra"], case["pads"][2:], strict=True)
    ]
    assert layer.name == "up"
    assert layer.form == ("binary" if min(ends) >= 0 else "float"), layer
