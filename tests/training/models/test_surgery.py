"""What ``binarize`` puts in the place of a layer computes what it should, and all around it keeps its meaning."""

import copy
import io
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from latentbit.training.layers.binary import BinaryConv2d, RSign
from latentbit.training.layers.signs import sign, weight_scale
from latentbit.training.models.binarize import binarize
from latentbit.training.models.replacements import Binarized


def whole(layer: nn.Module, example: Tensor, **options: Any) -> Any:
    """Return the binary form of a network that is one layer, without its batch norm and with thresholds of zero."""
    made: Any = binarize(nn.Sequential(layer), example, keep_first=False, keep_last=False, **options)[0]  # type: ignore[index]
    made.norm = nn.Identity()
    if "sign" in made._modules:
        nn.init.zeros_(made.sign.threshold)
    return made


def signs(x: Tensor) -> Tensor:
    return torch.where(x >= 0, 1.0, -1.0)


@pytest.mark.parametrize("weight_only", [False, True])
@pytest.mark.parametrize("axes", [1, 2])
@pytest.mark.parametrize(
    ("kernel", "options"),
    [
        (3, {"padding": "same"}),
        (2, {"padding": "same"}),
        (4, {"padding": "same", "dilation": 3}),
        (3, {"padding": "valid", "stride": 2}),
        (3, {"padding": 2, "dilation": 2, "groups": 2}),
        (3, {"padding": 1, "padding_mode": "reflect", "stride": 2}),
        (4, {"padding": "same", "padding_mode": "circular"}),
        (3, {"padding": 2, "padding_mode": "replicate", "groups": 4}),
    ],
)
@pytest.mark.filterwarnings("ignore:Using padding='same'")
def test_a_convolution_keeps_its_geometry(kernel: int, options: dict[str, Any], axes: int, weight_only: bool) -> None:
    torch.manual_seed(0)
    layer = (nn.Conv1d if axes == 1 else nn.Conv2d)(4, 8, kernel, bias=False, **options)
    x = torch.randn(2, 4, *[9, 10][:axes])
    made = whole(layer, x, weight_only=weight_only)
    expected = copy.deepcopy(layer)
    with torch.no_grad():
        expected.weight.copy_(sign(layer.weight) * weight_scale(layer.weight))
        torch.testing.assert_close(made(x), expected(x if weight_only else signs(x)))


@pytest.mark.parametrize("shape", [(5, 6), (2, 5, 6), (2, 3, 5, 6)])
def test_a_linear_layer_runs_over_any_leading_axes(shape: tuple[int, ...]) -> None:
    layer, x = nn.Linear(6, 4), torch.randn(shape)
    made = whole(layer, x)
    with torch.no_grad():
        weight = sign(layer.weight) * weight_scale(layer.weight)
        torch.testing.assert_close(made(x), F.linear(signs(x), weight))


def test_what_code_reads_of_a_layer_is_still_there() -> None:
    layer = nn.Conv1d(4, 8, 3, stride=2, padding=1)
    made = whole(layer, torch.randn(2, 4, 9))
    assert (made.in_channels, made.stride, made.padding, made.kernel_size) == (4, (2,), (1,), (3,))
    assert made.bias is None
    assert torch.equal(made.weight, layer.weight)
    dense = nn.Linear(6, 4)
    assert whole(dense, torch.randn(2, 6)).weight is dense.weight


class Wild(nn.Module):
    """Python that cannot be traced, a mode of its own, two inputs, a dict of outputs, one layer in several places."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.other = nn.Conv2d(3, 8, 3, padding=1), nn.Linear(5, 8)
        self.shared, self.norm = nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.steps = [self.shared, self.shared]
        self.classes, self.boxes = nn.Linear(8, 3), nn.Linear(8, 4)

    def forward(self, image: Tensor, vector: Tensor) -> dict[str, Tensor]:
        x = self.stem(image)
        if float(x.detach().sum()) > -1:  # no tracer sees this value
            x += self.other(vector)[:, :, None, None]
        x = torch.relu_(x)
        for step in self.steps:
            x = F.dropout(self.norm(step(F.relu(x))), 0.5, self.training)
        x = x.mean((2, 3))
        return {"classes": self.classes(x), "boxes": self.boxes(x)}


def test_any_python_stays_and_the_ends_are_found_by_what_they_read() -> None:
    inputs = [torch.randn(4, 3, 8, 8), torch.randn(4, 5)]
    theirs = Wild().train()
    theirs.norm.eval()
    before = {name: value.clone() for name, value in theirs.state_dict().items()}
    ours: Any = binarize(theirs, inputs)
    assert ours.meta["latentbit.kept_float"] == {
        "stem": "the first layer (keep_first)",
        "other": "the first layer (keep_first)",
        "classes": "the last layer (keep_last)",
        "boxes": "the last layer (keep_last)",
    }
    assert isinstance(ours.shared, Binarized)
    assert ours.steps[0] is ours.steps[1] is ours.shared, "a plain list refers to the same layer"
    assert type(theirs.shared) is nn.Conv2d
    assert "norm" not in ours.shared._modules, "a batch norm follows every call"
    assert ours.training
    assert not ours.norm.training, "each module keeps its mode"
    assert all(torch.equal(value, before[name]) for name, value in theirs.state_dict().items())
    assert not torch.equal(ours(*inputs)["boxes"], ours(*inputs)["boxes"]), "dropout while training"
    ours.eval()
    assert torch.equal(ours(*inputs)["boxes"], ours(*inputs)["boxes"])
    ours(*inputs)["boxes"].sum().backward()
    assert ours.shared.conv.weight.grad.abs().sum() > 0


def test_signs_behind_a_relu_are_of_both_kinds() -> None:
    torch.manual_seed(0)
    theirs = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU())
    ours: Any = binarize(theirs, torch.zeros(2, 3, 12, 12), keep_last=False)
    seen: list[Tensor] = []
    for module in ours.modules():
        if isinstance(module, RSign):
            module.register_forward_hook(lambda module, args, out: seen.append(out))
    ours(torch.randn(16, 3, 12, 12))
    assert len(seen) == 2
    assert all(0.1 < float((out > 0).float().mean()) < 0.9 for out in seen)


def test_hooks_stay_on_a_layer() -> None:
    theirs = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 2, 1)).eval()
    x = torch.randn(2, 3, 5, 5)
    plain: Any = binarize(theirs, x)
    theirs[1].register_forward_hook(lambda module, args, out: out * 2)
    hooked: Any = binarize(theirs, x)
    with torch.no_grad():
        torch.testing.assert_close(hooked[1](x[:, [0, 1, 2, 0]]), 2 * plain[1](x[:, [0, 1, 2, 0]]))


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c, self.d = nn.Linear(6, 8), nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 2)
        self.c.weight = self.b.weight

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.c(torch.relu(self.b(torch.relu(self.a(x))))))
        return self.d(F.linear(x, self.b.weight.t()))


def test_tied_weights_stay_tied_and_their_other_uses_are_listed() -> None:
    ours: Any = binarize(Tied(), torch.randn(4, 6))
    assert ours.b.dense.weight is ours.c.dense.weight
    assert ours.meta["latentbit.kept_float"]["b.weight"] == "a layer's weight, multiplied outside of that layer too"
    assert ours(torch.randn(4, 6)).shape == (4, 2)


class Own(nn.Conv2d):
    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input - 1)


class Named(nn.Conv2d):
    """A subclass that computes what Conv2d does."""


class Odd(nn.Module):
    """One of everything that stays float."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.own, self.named = nn.Conv2d(3, 8, 1), Own(8, 8, 1), Named(8, 8, 1)
        self.normed = nn.utils.parametrizations.weight_norm(nn.Conv2d(8, 8, 1))
        self.old = nn.utils.weight_norm(nn.Conv2d(8, 8, 1))
        self.up, self.unused = nn.ConvTranspose2d(8, 8, 2), nn.Linear(8, 8)
        self.attend, self.memory = nn.MultiheadAttention(8, 2), nn.GRU(8, 8)
        self.matrix, self.scale = nn.Parameter(torch.randn(8, 8)), nn.Parameter(torch.ones(1, 8, 1, 1))
        self.head = nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.scale * self.up(self.old(self.normed(self.named(self.own(self.stem(x))))))
        rows = x.flatten(2).permute(2, 0, 1)
        rows, _ = self.memory(self.attend(rows, rows, rows)[0] @ self.matrix)
        return self.head(rows[-1])


def test_nothing_stays_float_unlisted() -> None:
    with pytest.warns(FutureWarning, match="weight_norm"):
        theirs = Odd()
    ours: Any = binarize(theirs, torch.randn(2, 3, 5, 5))
    assert isinstance(ours.named.conv, BinaryConv2d)
    kept = ours.meta["latentbit.kept_float"]
    reasons = {
        "stem": "first layer",
        "own": "its class Own, a subclass of Conv2d, has a forward of its own",
        "normed": "its weight is computed",
        "old": "its weight is computed",
        "up": "a ConvTranspose2d",
        "attend": "a MultiheadAttention, for which there is no binary layer",
        "attend.out_proj": "not called",
        "matrix": "a parameter that Odd multiplies with itself",
        "memory": "a GRU, for which there is no binary layer",
        "head": "last layer",
        "unused": "not called on the example",
    }
    assert set(reasons) <= set(kept)
    assert all(reason in kept[path] for path, reason in reasons.items())
    assert set(kept) == set(reasons)


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
def test_a_transformer_reads_its_binary_layers_in_eval_mode() -> None:
    """Torch would compute a whole block from the weights of its layers, without calling them."""
    theirs = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True), 2)
    x = torch.randn(2, 5, 8)
    ours: Any = binarize(theirs, x, keep_first=False).eval()
    with torch.no_grad():
        before = ours(x)
        ours.layers[0].linear1.sign.threshold += 100
        assert not torch.equal(ours(x), before)


def test_wrappers_are_taken_off_with_a_word() -> None:
    def inner() -> nn.Sequential:
        return nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 2, 1))

    x = torch.randn(2, 3, 4, 4)
    for wrapped, path in (
        (torch.compile(inner(), backend="eager"), "1.conv"),
        (nn.DataParallel(inner()), "1.conv"),
        (nn.Sequential(nn.DataParallel(inner())), "0.1.conv"),
    ):
        with pytest.warns(UserWarning, match="wrapper .* is taken off"):
            ours = binarize(wrapped, x)  # type: ignore[arg-type]
        assert isinstance(ours.get_submodule(path), BinaryConv2d)


def test_the_result_can_be_saved_whole_and_copied() -> None:
    ours = binarize(Tied(), torch.randn(4, 6)).eval()
    file = io.BytesIO()
    torch.save(ours, file)
    file.seek(0)
    x = torch.randn(4, 6)
    assert torch.equal(torch.load(file, weights_only=False)(x), ours(x))
    assert torch.equal(copy.deepcopy(ours)(x), ours(x))
