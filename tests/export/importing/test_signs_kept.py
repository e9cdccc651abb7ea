"""The word of ``convert`` for a layer behind other operators is what the runtime does with that layer.

One list says which operators keep a value ±1. Each of them, and others that do not, stand between a sign and a layer
here, alone and in chains; then ``convert`` says "binary" exactly where the session runs a layer packed.
"""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latentbit.export import convert
from latentbit.runtime import InferenceSession
from latentbit.runtime.operators import SIGN_KEEPING

from ...support.import_graphs import Source, run, sign_form

Shape = tuple[int, ...]
Step = Callable[[Source, str, Shape], tuple[str, Shape]]


def sizes(g: Source, *values: int) -> str:
    return g.constant(np.array(values, np.int64))


def concat(g: Source, x: str, shape: Shape) -> tuple[str, Shape]:
    return g("Concat", x, x, axis=1), (shape[0], 2 * shape[1], *shape[2:])


def gather(g: Source, x: str, shape: Shape) -> tuple[str, Shape]:
    order = [*reversed(range(shape[1])), 0]
    return g("Gather", x, sizes(g, *order), axis=1), (shape[0], len(order), *shape[2:])


def reshape(g: Source, x: str, shape: Shape) -> tuple[str, Shape]:
    n, c, h, w = shape
    return g("Reshape", x, sizes(g, 0, c, w, h)), (n, c, w, h)


def slice_(g: Source, x: str, shape: Shape) -> tuple[str, Shape]:
    return g("Slice", x, sizes(g, 0), sizes(g, shape[1] - 1), sizes(g, 1)), (shape[0], shape[1] - 1, *shape[2:])


def unsqueeze_squeeze(g: Source, x: str, shape: Shape) -> tuple[str, Shape]:
    return g("Squeeze", g("Unsqueeze", x, sizes(g, 2)), sizes(g, 2)), shape


def transpose(g: Source, x: str, shape: Shape) -> tuple[str, Shape]:
    n, c, h, w = shape
    return g("Transpose", x, perm=[0, 2, 1, 3]), (n, h, c, w)


def pool(g: Source, x: str, shape: Shape) -> tuple[str, Shape]:
    return g("MaxPool", x, kernel_shape=[2, 2], strides=[1, 1], pads=[1, 1, 0, 0]), shape


def resize(g: Source, x: str, mode: str) -> str:
    return g("Resize", x, "", g.constant(np.array([1, 1, 2, 2], np.float32)), mode=mode)


def split(g: Source, x: str, shape: Shape) -> tuple[str, Shape]:
    """Cut the channels in two and join them the other way round: a channel shuffle."""
    first = shape[1] // 2
    node = onnx.helper.make_node("Split", [x, sizes(g, first, shape[1] - first)], [f"{x}.a", f"{x}.b"], axis=1)
    g.nodes.append(node)
    return g("Concat", f"{x}.b", f"{x}.a", axis=1), shape


def plain(op_type: str) -> Step:
    return lambda g, x, shape: (g(op_type, x), shape)


KEEPING: dict[str, Step] = {
    "Concat": concat,
    "DepthToSpace": lambda g, x, s: (g("DepthToSpace", x, blocksize=2), (s[0], s[1] // 4, 2 * s[2], 2 * s[3])),
    "Dropout": plain("Dropout"),
    "Flatten": lambda g, x, s: (g("Flatten", x), (s[0], s[1] * s[2] * s[3])),
    "Gather": gather,
    "GlobalMaxPool": lambda g, x, s: (g("GlobalMaxPool", x), (s[0], s[1], 1, 1)),
    "Identity": plain("Identity"),
    "MaxPool": pool,
    "Reshape": reshape,
    "Resize": lambda g, x, s: (resize(g, x, "nearest"), (s[0], s[1], 2 * s[2], 2 * s[3])),
    "Slice": slice_,
    "SpaceToDepth": lambda g, x, s: (g("SpaceToDepth", x, blocksize=2), (s[0], 4 * s[1], s[2] // 2, s[3] // 2)),
    "Split": split,
    "Squeeze": unsqueeze_squeeze,
    "Transpose": transpose,
    "Unsqueeze": unsqueeze_squeeze,
}
OTHERS: dict[str, Step] = {
    "Softsign": plain("Softsign"),
    "AveragePool": lambda g, x, s: (g("AveragePool", x, kernel_shape=[1, 1]), s),
    "Dropout that may train": lambda g, x, s: (
        g("Dropout", x, g.constant(np.float32(0.5)), g.constant(np.array(False))),
        s,
    ),
    "ReduceMax": lambda g, x, s: (g("ReduceMax", x, sizes(g, 1), keepdims=1), (s[0], 1, *s[2:])),
    "Resize between pixels": lambda g, x, s: (resize(g, x, "linear"), (s[0], s[1], 2 * s[2], 2 * s[3])),
    "Tile": lambda g, x, s: (g("Tile", x, sizes(g, 1, 2, 1, 1)), (s[0], 2 * s[1], *s[2:])),
    "Tanh": plain("Tanh"),
}
NAMES = [*KEEPING, *OTHERS]


def possible(name: str, shape: Shape) -> bool:
    """Tell whether an operator takes a value of this shape."""
    if len(shape) != 4:
        return name in ("Dropout", "Identity", "Concat", "Gather", "Unsqueeze", "Squeeze", "Tanh")
    if name == "DepthToSpace":
        return shape[1] % 4 == 0
    if name == "SpaceToDepth":
        return shape[2] % 2 == 0 == shape[3] % 2
    return name not in ("Slice", "Split") or shape[1] > 1


def check(names: list[str], form: str = "where >=") -> str:
    """Convert a network with these operators between its sign and its layer; compare word and answers."""
    rng = np.random.default_rng(len(names))
    shape: Shape = (2, 8, 4, 6)
    g = Source(["N", *shape[1:]])
    value = sign_form(g, form, "x")
    for name in names:
        if possible(name, shape):
            value, shape = (KEEPING | OTHERS)[name](g, value, shape)
    if len(shape) == 4:
        weight = np.where(rng.random((5, shape[1], 1, 1)) < 0.5, 1, -1).astype(np.float32)
        value = g("Conv", value, g.constant(weight), name="layer")
    else:
        weight = np.where(rng.random((5, shape[1])) < 0.5, 1, -1).astype(np.float32)
        value = g("Gemm", value, g.constant(weight), transB=1, name="layer")
    x = rng.standard_normal((2, 8, 4, 6)).astype(np.float32)
    with TemporaryDirectory() as folder:
        source, target = g.save(Path(folder) / "source.onnx", value, len(shape)), Path(folder) / "target.onnx"
        (layer,) = convert(source, target).layers
        session = InferenceSession(target)
        packed = [step.name for step in session.get_steps() if step.kind == "binary"]
        assert packed == (["layer"] if layer.form == "binary" else []), (layer, session.get_steps())
        (found,) = session.run(None, {"x": x})
        np.testing.assert_allclose(found, run(target, x), atol=0 if layer.form == "binary" else 1e-5)
        np.testing.assert_allclose(found, run(source, x), atol=0 if layer.form == "binary" else 1e-5)
    return layer.form


def test_every_operator_of_the_list_is_tried() -> None:
    assert set(KEEPING) == SIGN_KEEPING


@pytest.mark.parametrize("name", KEEPING)
def test_what_keeps_signs_is_packed(name: str) -> None:
    assert check([name]) == "binary"


@pytest.mark.parametrize("name", OTHERS)
def test_what_keeps_no_signs_is_not(name: str) -> None:
    assert check([name]) == "weight-only"


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(NAMES), min_size=2, max_size=5), st.sampled_from(["where >=", "where <=", "bool"]))
def test_chains_have_one_word(names: list[str], form: str) -> None:
    check(names, form)
