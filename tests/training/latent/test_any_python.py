"""The latent branch over networks of ordinary Python: what their forward does, both streams do."""

import copy
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from latentbit.runtime.errors import ConfigError, DataError, UnsupportedError
from latentbit.training.latent.objectives import build_objective
from latentbit.training.layers.binary import BinaryConv2d, RPReLU, RSign
from latentbit.training.layers.stages import set_real_weights
from latentbit.training.layers.weights import choose_weights
from latentbit.training.models.binarize import binarize
from latentbit.training.models.blocks import BinaryBlock
from latentbit.training.settings import Settings


class Theirs(nn.Module):
    """A float network: control flow, work in place, two inputs, a dict of outputs, one layer in several places."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.other = nn.Conv2d(1, 8, 3, padding=1), nn.Linear(3, 8)
        self.shared, self.norm = nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.steps = [self.shared, partial(self.twice, self.shared)]
        self.pool, self.scores, self.boxes = nn.AdaptiveAvgPool2d(1), nn.Linear(8, 4), nn.Linear(8, 2)
        self.register_buffer("offset", torch.full((8, 1, 1), 0.1), persistent=False)
        self.norm.register_forward_hook(self.lift)
        self.calls = 0

    def lift(self, module: nn.Module, args: Any, out: Tensor) -> Tensor:
        self.calls += 1
        return out + self.offset

    def twice(self, layer: nn.Module, x: Tensor) -> Tensor:
        found: Tensor = layer(layer(x))
        return found

    def forward(self, image: Tensor, vector: Tensor) -> dict[str, Tensor]:
        image -= 0.5
        x = self.stem(image)
        x += self.other(vector)[:, :, None, None]
        for number, step in enumerate(self.steps):
            if float(x.detach().abs().sum()) > 0 or number == 0:  # no tracer sees this value
                x = F.dropout(self.norm(step(x)), 0.0, self.training) + x
        x = self.pool(x).flatten(1)
        return {"scores": self.scores(x), "boxes": self.boxes(x)}


def detection(outputs: Any, targets: Any) -> Tensor:
    found: Tensor = F.cross_entropy(outputs["scores"], targets[0]) + F.mse_loss(outputs["boxes"], targets[1])
    return found


def between(outputs: Any, taught: Any) -> Tensor:
    return F.mse_loss(outputs["boxes"], taught["boxes"])


def data(count: int = 16) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(1)
    labels = torch.arange(count) % 4
    images = torch.randn(count, 1, 6, 6, generator=generator) + labels[:, None, None, None]
    return (images, F.one_hot(labels % 3, 3).float()), (labels, torch.stack((labels, -labels), 1) / 4.0)


def fresh(inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(tensor.clone() for tensor in inputs)


def ours() -> Any:
    torch.manual_seed(0)
    return binarize(Theirs(), fresh(data()[0]))


@pytest.mark.parametrize("variant", ["none", "L1", "L2", "L3", "L4", "L5", "L6"])
def test_a_binarized_network_of_ordinary_python_trains(variant: str) -> None:
    network, (inputs, targets) = ours(), data()
    settings = Settings(latent=variant, fade=1.0)
    objective = build_objective(network, settings, detection, between)
    optimizer = torch.optim.Adam(objective.train().parameters(), 1e-2)
    losses = []
    for step in range(25):
        objective.set_progress(step / 25, step)
        loss, outputs = objective(fresh(inputs), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(detection(outputs, targets).detach()))
    assert losses[-1] < 0.6 * losses[0]
    assert all(p.grad is not None and p.grad.isfinite().all() for p in objective.parameters())
    kinds = {type(module).__module__ for module in network.modules()}
    assert not any(kind.startswith("latentbit.training.latent") for kind in kinds), "the network knows nothing of it"
    again = ours()
    again.load_state_dict(network.state_dict())
    with torch.no_grad():
        for name, value in again.eval()(*fresh(inputs)).items():
            assert torch.equal(value, network.eval()(*fresh(inputs))[name])


@pytest.mark.parametrize("variant", ["L1", "L2", "L4", "L5", "L6"])
def test_outputs_are_the_bare_networks_and_inputs_changed_in_place_are_changed_once(variant: str) -> None:
    network, (inputs, targets) = ours().train(), data()
    bare, given = copy.deepcopy(network), fresh(inputs)
    expected = bare(*fresh(inputs))
    _, outputs = build_objective(network, Settings(latent=variant), detection, between)(given, targets)
    assert all(torch.equal(outputs[name], expected[name]) for name in expected)
    assert torch.equal(given[0], inputs[0] - 0.5)
    for name, value in bare.named_buffers():
        assert torch.equal(value, network.get_buffer(name)), name


def test_each_stream_has_the_python_state_of_its_own_modules() -> None:
    network, (inputs, targets) = ours(), data()
    objective = build_objective(network, Settings(latent="L1"), detection)
    before = network.calls
    objective(inputs, targets)
    assert network.calls == objective.stream.module.calls == before + 2


def test_types_and_modes_of_the_network_reach_the_stream() -> None:
    network, (inputs, targets) = ours(), data()
    objective = build_objective(network, Settings(latent="L1"), detection).double().train()
    inputs, targets = (inputs[0].double(), inputs[1].double()), (targets[0], targets[1].double())
    network.norm.eval()  # frozen, as in fine-tuning
    before = objective.latent.norm.running_mean.clone()
    objective(fresh(inputs), targets)[0].backward()
    assert torch.equal(objective.latent.norm.running_mean, before)
    network.norm.train()
    objective(fresh(inputs), targets)[0].backward()
    assert not torch.equal(objective.latent.norm.running_mean, before)
    network.eval()
    assert torch.equal(objective.latent_logits(fresh(inputs))["boxes"], objective.latent_logits(fresh(inputs))["boxes"])


def plain() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(RSign(2), BinaryConv2d(2, 3, 3), nn.BatchNorm2d(3), RPReLU(3), nn.Flatten(), nn.Linear(27, 4))


def test_what_is_chosen_for_the_layers_later_reaches_every_stream() -> None:
    network: Any = plain().eval()
    objective, x = build_objective(network, Settings(latent="L1")).eval(), torch.randn(4, 2, 5, 5)
    choose_weights(network, estimator="identity", regulariser="standardise")
    moved = x - network[0].threshold.view(1, -1, 1, 1)
    expected = network[3:](network[2](F.conv2d(moved, network[1].latent_weight())))
    torch.testing.assert_close(objective.latent_logits(x), expected)
    set_real_weights(network, True)
    torch.testing.assert_close(objective.latent_logits(x), expected)
    fused = build_objective(network, Settings(latent="L3")).eval()
    set_real_weights(network, False)
    fused.strength.zero_()
    assert torch.equal(fused(x, torch.arange(4))[1], network(x))


def test_tied_layers_and_norms_are_one_in_the_stream_too() -> None:
    block = BinaryBlock(2, 2)
    network = nn.ModuleDict({"a": block, "b": nn.ModuleList([block, nn.Linear(8, 2)])})
    network.forward = partial(_through, network)  # type: ignore[method-assign]
    objective = build_objective(network, Settings(latent="L1"))
    assert sorted({name.rpartition(".")[0] for name in objective.latent.state_dict()}) == ["a.norm"]
    objective(torch.randn(4, 2, 2, 2), torch.arange(4) % 2)[0].backward()
    assert int(objective.latent.a.norm.num_batches_tracked) == 2
    copied = objective.stream.module
    assert copied["a"] is copied["b"][0]
    assert copied["a"].conv.weight is block.conv.weight


def _through(network: Any, x: Tensor) -> Tensor:
    found: Tensor = network["b"][1](network["b"][0](network["a"](x)).flatten(1))
    return found


def closure(network: nn.Sequential) -> None:
    network[0].register_forward_hook(lambda module, args, out: out + network[2].bias.mean())


def weak(network: nn.Sequential) -> None:
    import weakref

    vars(network)["last"] = weakref.ref(network[5])


@pytest.mark.parametrize(("hide", "place"), [(closure, "0._forward_hooks"), (weak, "last")])
def test_a_function_that_would_reach_the_network_from_a_copy_is_refused(hide: Any, place: str) -> None:
    network = plain()
    hide(network)
    with pytest.raises(UnsupportedError, match=f"{place} of Sequential holds a function that refers to a module"):
        build_objective(network, Settings(latent="L1"))


def test_layers_with_a_forward_of_their_own() -> None:
    class Scaled(BinaryConv2d):
        def forward(self, x: Tensor) -> Tensor:
            return 2 * super().forward(x)

    class Loud(RSign):
        def forward(self, x: Tensor) -> Tensor:
            return 2 * super().forward(x)

    network, x = plain().eval(), torch.randn(4, 2, 5, 5)
    network[1].__class__ = Scaled
    objective = build_objective(network, Settings(latent="L1")).eval()
    moved = x - network[0].threshold.view(1, -1, 1, 1)  # type: ignore[union-attr, operator]
    expected = network[3:](network[2](2 * F.conv2d(moved, network[1].weight)))  # type: ignore[arg-type]
    torch.testing.assert_close(objective.latent_logits(x), expected)
    with pytest.raises(UnsupportedError, match="1 of Sequential is not between"):
        build_objective(network, Settings(latent="L4"))
    network[0].__class__ = Loud
    with pytest.raises(UnsupportedError, match="0 has a forward of its own in the place of RSign's"):
        build_objective(network, Settings(latent="L1"))


@pytest.mark.parametrize("variant", ["L1", "L2", "L3", "L4", "L5", "L6"])
def test_a_deep_copy_has_a_branch_of_its_own(variant: str) -> None:
    network, (inputs, targets) = ours(), data()
    objective = build_objective(network, Settings(latent=variant), detection, between).train()
    objective.set_progress(0.3, 1)
    objective(fresh(inputs), targets)[0].backward()
    other = copy.deepcopy(objective)
    losses = [each(fresh(inputs), targets)[0] for each in (objective, other)]
    assert torch.equal(*losses)
    before = {name: value.clone() for name, value in objective.state_dict().items()}
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(0.1)
    other(fresh(inputs), targets)
    assert all(torch.equal(value, before[name]) for name, value in objective.state_dict().items())
    assert not torch.equal(other(fresh(inputs), targets)[0], losses[0])


def test_a_parallel_wrapper_belongs_around_the_objective(tmp_path: Path) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'meeting'}", rank=0, world_size=1)
    try:
        wrapped = nn.parallel.DistributedDataParallel(plain())
        with pytest.raises(UnsupportedError, match="put it around the objective instead"):
            build_objective(wrapped, Settings(latent="L1"))
    finally:
        torch.distributed.destroy_process_group()


def test_a_layer_called_once_outside_of_its_chain_is_named() -> None:
    network: Any = plain()
    network.append(nn.Flatten())
    network.register_forward_hook(lambda module, args, out: out + module[1](module[0](args[0])).mean())
    with pytest.raises(UnsupportedError, match="1 of Sequential is not between an RSign and a batch norm"):
        build_objective(network, Settings(latent="L4"))(torch.randn(4, 2, 5, 5), torch.arange(4))


def test_the_state_of_another_branch_is_refused_in_one_line() -> None:
    objective = build_objective(plain(), Settings(latent="L1"))
    state = objective.state_dict()
    objective.load_state_dict(state)
    state["latent.bn_1.weight"] = state.pop("latent.2.weight")
    with pytest.raises(DataError, match=r"has other norms \(latent\.2\.weight is in one of both alone\)"):
        objective.load_state_dict(state)


def test_a_share_of_the_batch_is_taken_of_every_structure() -> None:
    network, (inputs, targets) = ours(), data()
    settings = Settings(latent="L5", latent_share=0.25)
    objective = build_objective(network, settings, detection).train()
    seen: list[Any] = []

    def watched(outputs: Any, goals: Any) -> Tensor:
        seen.append((outputs, goals))
        return detection(outputs, goals)

    objective.task.loss = watched
    objective(fresh(inputs), targets)
    assert [len(outputs["boxes"]) for outputs, _ in seen] == [16, 4]
    assert torch.equal(seen[1][1][1], targets[1][:4])
    with pytest.raises(ConfigError, match="takes the first rows of the targets"):
        objective(fresh(inputs), [targets[0], targets[1]])


def test_streams_of_other_outputs_than_tensors_cannot_be_mixed() -> None:
    network, (inputs, targets) = ours(), data()
    network.register_forward_hook(lambda module, args, out: out | {"count": 3})
    build_objective(network, Settings(latent="L1"), detection)(fresh(inputs), targets)
    with pytest.raises(UnsupportedError, match="L5 mixes the outputs of both streams"):
        build_objective(network, Settings(latent="L5"), detection)(fresh(inputs), targets)
