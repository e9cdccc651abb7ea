"""A file is well formed before anything reads its graph: tensors in it, names once, sizes and costs within limits."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from latentbit.runtime.errors import ConfigError, InputError, LatentbitError, ModelError
from latentbit.runtime.intake import limits
from latentbit.runtime.intake.limits import Limits, current_limits
from latentbit.runtime.session import InferenceSession

from ...support.graphs import GraphMaker, chain

Break = Callable[[onnx.ModelProto], None]


def outside(name: str, location: str) -> TensorProto:
    """Return a tensor of 8 bytes that lies in another file."""
    tensor = TensorProto(name=name, data_type=TensorProto.UINT8, dims=[8], data_location=TensorProto.EXTERNAL)
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", location
    return tensor


def in_a_node(location: str) -> Break:
    def change(model: onnx.ModelProto) -> None:
        model.graph.node.append(helper.make_node("Constant", [], ["k"], value=outside("k", location)))

    return change


def in_a_branch(location: str) -> Break:
    def change(model: onnx.ModelProto) -> None:
        inner = helper.make_node("Constant", [], ["k"], value=outside("k", location))
        info = helper.make_tensor_value_info("k", TensorProto.UINT8, [8])
        branch = helper.make_graph([inner], "branch", [], [info])
        model.graph.initializer.append(numpy_helper.from_array(np.array(True), "yes"))
        model.graph.node.append(helper.make_node("If", ["yes"], ["z"], then_branch=branch, else_branch=branch))

    return change


def in_a_function(location: str) -> Break:
    def change(model: onnx.ModelProto) -> None:
        node = helper.make_node("Constant", [], ["k"], value=outside("k", location))
        model.functions[0].node.append(node)

    return change


def as_an_initializer(location: str) -> Break:
    return lambda model: model.graph.initializer.append(outside("k", location))


def not_marked(location: str) -> Break:
    """Name a file, and say that the data lie in this one."""

    def change(model: onnx.ModelProto) -> None:
        tensor = outside("k", location)
        tensor.data_location = TensorProto.DEFAULT
        model.graph.initializer.append(tensor)

    return change


@pytest.mark.parametrize("location", ["private", "../private", "/etc/hostname"])
@pytest.mark.parametrize("where", [in_a_node, in_a_branch, in_a_function, as_an_initializer, not_marked])
def test_no_model_reads_another_file(
    where: Callable[[str], Break], location: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in (tmp_path, tmp_path / "here"):
        folder.mkdir(exist_ok=True)
        (folder / "private").write_bytes(b"01234567")
    monkeypatch.chdir(tmp_path / "here")
    model = chain()
    where(location)(model)
    (tmp_path / "here" / "model.onnx").write_bytes(model.SerializeToString())
    for source in (model.SerializeToString(), tmp_path / "here" / "model.onnx"):
        with pytest.raises(ModelError, match="keeps weights in other files"):
            InferenceSession(source)


def again(field: str) -> Break:
    def change(model: onnx.ModelProto) -> None:
        entries = getattr(model.graph, field)
        entries.append(entries[0])

    return change


def made_twice(model: onnx.ModelProto) -> None:
    model.graph.node[1].output[0] = model.graph.node[0].output[0]


def an_attribute_twice(model: onnx.ModelProto) -> None:
    entry = next(node for node in model.graph.node if node.op_type == "BinaryConv2d")
    entry.attribute.append(entry.attribute[1])


def made_of_a_constant(model: onnx.ModelProto) -> None:
    model.graph.node[0].output[0] = model.graph.initializer[0].name


def negative_size(model: onnx.ModelProto) -> None:
    model.graph.initializer[1].dims[0] = -1


def negative_input(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_value = -8


def no_such_type(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].data_type = 99


def huge_constant(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].dims[:] = [2**62]


def huge_stride(model: onnx.ModelProto) -> None:
    entry = next(node for node in model.graph.node if node.op_type == "BinaryConv2d")
    next(value for value in entry.attribute if value.name == "strides").ints[:] = [1, 2**40]


def huge_value(model: onnx.ModelProto) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.array([2**33]), "many"))
    model.graph.node.insert(0, helper.make_node("ConstantOfShape", ["many"], ["zeros"]))


def no_output(model: onnx.ModelProto) -> None:
    del model.graph.node[2].output[:]


def miscounted_split(model: onnx.ModelProto) -> None:
    model.graph.node.append(helper.make_node("Split", ["input"], ["one", "two"], axis=1, num_outputs=1))


def calls_itself(model: onnx.ModelProto) -> None:
    body = model.functions[0]
    body.node.append(helper.make_node(body.name, list(body.input), ["z"], domain=body.domain))


def grows(model: onnx.ModelProto) -> None:
    """Forty functions, each of which calls the one before twice: two to the fortieth nodes."""
    imports = [helper.make_opsetid("", 18), helper.make_opsetid("bomb", 1)]
    model.opset_import.append(imports[1])
    for level in range(40):
        name, domain = (f"f{level - 1}", "bomb") if level else ("Identity", "")
        nodes = [
            helper.make_node(name, ["a"], ["b"], domain=domain),
            helper.make_node(name, ["b"], ["c"], domain=domain),
        ]
        model.functions.append(helper.make_function("bomb", f"f{level}", ["a"], ["c"], nodes, imports))
    model.graph.node.append(helper.make_node("f39", ["input"], ["z"], domain="bomb"))


def text_for_numbers(model: onnx.ModelProto) -> None:
    entry = next(node for node in model.graph.node if node.op_type == "BinaryConv2d")
    next(value for value in entry.attribute if value.name == "strides").CopyFrom(
        helper.make_attribute("strides", ["a", "b"])
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (again("initializer"), "constant .* is given 2 times"),
        (again("input"), "input input is given 2 times"),
        (again("output"), "output logits is given 2 times"),
        (made_twice, "is given 2 times; names must be unique"),
        (made_of_a_constant, "is given 2 times; names must be unique"),
        (an_attribute_twice, "attribute .* is given 2 times"),
        (negative_size, "sizes are not negative"),
        (negative_input, "value input has a size of -8"),
        (no_such_type, "element type 99"),
        (huge_constant, "passes the limit memory_bytes"),
        (huge_stride, "must hold 2 integers from 1 to 65535"),
        (huge_value, "value zeros of sizes .* needs more than the limit memory_bytes"),
        (no_output, "has no output"),
        (miscounted_split, "node Split: num_outputs is 1 and it has 2 outputs"),
        (calls_itself, "calls itself"),
        (grows, "and the limit nodes is 50000"),
        (text_for_numbers, "attribute strides must be INTS"),
    ],
)
def test_what_is_not_well_formed(change: Break, message: str) -> None:
    model = chain()
    change(model)
    with pytest.raises(ModelError, match=message) as caught:
        InferenceSession(model.SerializeToString())
    assert "\n" not in str(caught.value)


def test_a_name_that_is_no_text() -> None:
    data = chain().SerializeToString()
    with pytest.raises(ModelError, match="no text"):
        InferenceSession(data.replace(b"flatten", b"flat\xffen"))


def between_signs(steps: int, *, doubled: bool) -> tuple[onnx.ModelProto, GraphMaker]:
    maker = GraphMaker()
    value = maker.binarize("input", 8)
    ends = [maker.constant(np.array([place])) for place in (0, 8, 1)]
    for _ in range(steps):
        if doubled:
            value = maker.node("Slice", [maker.node("Concat", [value, value], axis=1), *ends])
        else:
            value = maker.node("Identity", [value])
    out = maker.conv(value, maker.signs(4, 8, 1, 1), unit=True)
    return maker.build({"input": [1, 8, 4, 4]}, {out: None}), maker


@pytest.mark.timeout(60)
@pytest.mark.parametrize(("steps", "doubled"), [(40, True), (3000, False)])
def test_deep_graphs_cost_no_more_than_their_nodes(steps: int, doubled: bool) -> None:
    model, maker = between_signs(steps, doubled=doubled)
    session = InferenceSession(model.SerializeToString())
    assert [step.kind for step in session.get_steps()] == ["float", "binary", "float"]
    assert session.run(None, {"input": maker.floats(1, 8, 4, 4)})[0].shape == (1, 4, 4, 4)


@pytest.mark.parametrize(("late", "said"), [(1, "it is read"), (2, "the plan is made"), (3, "[01] of [0-9]+ segments")])
def test_a_model_that_takes_too_long_to_open_is_refused(monkeypatch: pytest.MonkeyPatch, late: int, said: str) -> None:
    """A clock that jumps at one of the looks at it."""
    asked = iter(range(100))
    monkeypatch.setattr(limits, "monotonic", lambda: 1000.0 * (next(asked) >= late))
    monkeypatch.setenv("LATENTBIT_LIMITS", "build_seconds=7")
    with pytest.raises(ModelError, match=rf"longer than the limit build_seconds of 7 \({said}"):
        InferenceSession(between_signs(1, doubled=True)[0].SerializeToString())


def test_limits_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    data = chain().SerializeToString()
    (tmp_path / "m.onnx").write_bytes(data)
    with pytest.raises(InputError, match="num_threads is 1000000, and the limit threads is 256"):
        InferenceSession(data, num_threads=1_000_000)
    monkeypatch.setenv("LATENTBIT_LIMITS", "nodes=5, threads=2")
    assert current_limits() == Limits(nodes=5, threads=2)
    with pytest.raises(ModelError, match="the limit nodes is 5"):
        InferenceSession(data)
    monkeypatch.setenv("LATENTBIT_LIMITS", "file_bytes=100")
    for source in (data, tmp_path / "m.onnx"):
        with pytest.raises(ModelError, match="the limit file_bytes is 100"):
            InferenceSession(source)
    for wrong in ("nodes", "nodes=0", "nodes=-1", "nodes=many", "edges=5"):
        monkeypatch.setenv("LATENTBIT_LIMITS", wrong)
        with pytest.raises(ConfigError, match="is no limit"):
            InferenceSession(data)


@pytest.mark.parametrize("sizes", [[8, 2, 1], [7, 1, 1], []])
def test_a_constant_of_other_sizes_than_its_bytes(sizes: list[int]) -> None:
    """The importer reads constants one by one, long after the file was found to be well formed."""
    model = chain()
    tensor = next(tensor for tensor in model.graph.initializer if len(tensor.dims) == 3)
    del tensor.dims[:]
    tensor.dims.extend(sizes)
    with pytest.raises(ModelError, match=rf"constant {tensor.name} of sizes .* holds \d+ bytes and needs \d+"):
        InferenceSession(model.SerializeToString())


def test_an_output_without_a_type() -> None:
    model = chain()
    model.graph.output[0].ClearField("type")
    (output,) = InferenceSession(model.SerializeToString()).get_outputs()
    assert output.type == "tensor(float)"


def test_a_path_that_no_system_takes() -> None:
    with pytest.raises(LatentbitError, match="cannot read model"):
        InferenceSession("a\0b.onnx")
