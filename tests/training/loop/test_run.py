"""A training step and its options: optimiser groups, averages, clipping, precision, stages, teacher."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from latentbit.runtime.errors import ConfigError
from latentbit.training.latent.objectives import build_objective
from latentbit.training.latent.supervision import distillation
from latentbit.training.layers.binary import BinaryConv2d, RSign
from latentbit.training.layers.stages import set_real_weights
from latentbit.training.loop.averages import MovingAverage
from latentbit.training.loop.loading import load_network
from latentbit.training.loop.optimize import build_optimizer
from latentbit.training.loop.run import TrainingRun
from latentbit.training.loop.trainer import train
from latentbit.training.models.catalogue import build_model
from latentbit.training.models.kinds import PairBlock
from latentbit.training.settings import Settings

QUICK: dict[str, Any] = {"epochs": 2, "width": 4, "batch_size": 128, "threads": 1, "seed": 3}
ROWS = torch.arange(128)


def run(**changes: Any) -> TrainingRun:
    return TrainingRun(Settings.from_keywords(**QUICK | changes))


def weights(step_runner: TrainingRun) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in step_runner.network.state_dict().items()}


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_an_optimiser_takes_the_steps_of_its_formula(name: str) -> None:
    module, rate, decay = torch.nn.Linear(3, 2, dtype=torch.float64), 0.1, 0.02 if name == "adamw" else 0.0
    optimizer = build_optimizer(module, Settings(optimizer=name, learning_rate=rate, weight_decay=decay))
    w = module.weight.detach().clone()
    first, second = torch.zeros_like(w), torch.zeros_like(w)
    for step in range(1, 4):
        gradient = module.weight.grad = torch.randn(2, 3, dtype=torch.float64)
        optimizer.step()
        if name == "sgd":
            first = gradient + 0.9 * first
            w = w - rate * first
        else:
            first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
            w = w * (1 - rate * decay)
            w = w - rate * first / (1 - 0.9**step) / ((second / (1 - 0.999**step)).sqrt() + 1e-8)
    assert torch.allclose(module.weight, w, rtol=1e-9)


def test_weight_decay_acts_on_kernels_and_matrices_alone() -> None:
    objective = build_objective(build_model("digits_resnet", width=4), Settings())
    decayed, free = build_optimizer(objective, Settings(weight_decay=0.02)).param_groups
    assert (decayed["weight_decay"], free["weight_decay"]) == (0.02, 0.0)
    names = {id(parameter): name for name, parameter in objective.named_parameters()}
    assert all(names[id(p)].endswith("weight") and p.dim() > 1 for p in decayed["params"])
    kinds = {names[id(p)].rsplit(".", 1)[1] for p in free["params"]}
    assert kinds == {"weight", "bias", "threshold", "slope", "shift_in", "shift_out"}
    assert len(decayed["params"]) + len(free["params"]) == len(names)


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
def test_every_optimizer_lowers_the_loss(optimizer: str) -> None:
    found = run(optimizer=optimizer, augment="none", learning_rate=0.05 if optimizer == "sgd" else 0.01)
    found.objective.train()
    losses = [found.train_step(ROWS, step)[0].item() for step in range(12)]
    assert losses[-1] < losses[0]


def test_a_moving_average_follows_its_formula() -> None:
    module = torch.nn.Linear(1, 1, bias=False)
    average = MovingAverage(module, 0.9)
    expected = module.weight.item()
    for step in range(120):
        with torch.no_grad():
            module.weight.fill_(float(step))
        average.update(step)
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * step
    average.apply()
    assert module.weight.item() == pytest.approx(expected, rel=1e-5)


def test_a_run_with_an_average_leaves_the_average_and_resumes_it(tmp_path: Path) -> None:
    plain = train(out=tmp_path / "plain", **QUICK).folder
    averaged = train(out=tmp_path / "averaged", ema=0.9, **QUICK).folder
    one, other = (load_network(folder).state_dict() for folder in (plain, averaged))
    assert not torch.equal(one["head.weight"], other["head.weight"])
    again = train(out=averaged, ema=0.9, **QUICK)
    assert torch.equal(load_network(again.folder).state_dict()["head.weight"], other["head.weight"])


def test_clipping_bounds_the_gradient() -> None:
    found = run(clip=0.01, optimizer="sgd")
    found.train_step(ROWS, 0)
    norm = torch.stack([p.grad.norm() for p in found.objective.parameters() if p.grad is not None]).norm()
    assert norm.item() == pytest.approx(0.01, rel=1e-3)


def test_bf16_keeps_float32_weights_and_similar_losses() -> None:
    losses = []
    for precision in ("float32", "bf16"):
        found = run(precision=precision)
        found.objective.train()
        seen: list[torch.dtype] = []
        found.network.blocks[1].conv.register_forward_hook(lambda m, i, o, seen=seen: seen.append(o.dtype))
        totals = found.train_step(ROWS, 0)
        losses.append((totals[0] / totals[2]).item())
        assert {p.dtype for p in found.objective.parameters()} == {torch.float32}
        assert seen[0] == (torch.float32 if precision == "float32" else torch.bfloat16)
    assert losses[1] == pytest.approx(losses[0], rel=0.05)


def test_fp16_is_refused_on_a_cpu() -> None:
    with pytest.raises(ConfigError, match="fp16' needs a GPU"):
        Settings(precision="fp16")


def test_two_stages_binarise_weights_and_start_the_schedule_again() -> None:
    found = run(real_weight_until=0.5, weight_decay=0.1, schedule="linear", learning_rate=0.01, augment="none")
    found.objective.train()
    layer = found.network.blocks[0].conv
    steps = found.settings.epochs * found.batches.steps
    half = steps // 2
    seen = []
    for step in (0, half - 1, half, steps - 1):
        found.train_step(ROWS, step)
        group = found.optimizer.param_groups[0]
        seen.append((layer.bits == 0, round(group["lr"], 4), group["weight_decay"]))
    assert seen == [(True, 0.01, 0.1), (True, 0.001, 0.1), (False, 0.01, 0.0), (False, 0.001, 0.0)]
    # Momentum was dropped at the turn: Adam has counted the second stage's steps alone.
    assert {int(state["step"]) for state in found.optimizer.state.values()} == {2}
    found.close()
    assert not any(m.bits != 1 for m in found.network.modules() if isinstance(m, BinaryConv2d))


def test_a_float_network_becomes_binary_activations_first() -> None:
    found = run(float_until=0.25, real_weight_until=0.5, weight_decay=0.1, schedule="linear", learning_rate=0.01)
    found.objective.train()
    sign, layer = found.network.blocks[0].sign, found.network.blocks[0].conv
    steps = found.settings.epochs * found.batches.steps
    assert steps % 4 == 0, "the stages begin at whole steps, or the rates below are others"
    seen = []
    for step in (0, steps // 4 - 1, steps // 4, steps // 2 - 1, steps // 2, steps - 1):
        found.train_step(ROWS, step)
        group = found.optimizer.param_groups[0]
        left = round(group["lr"] / 0.01, 4)
        seen.append((sign.bits == 0, layer.bits == 0, left, group["weight_decay"]))
    short, long = round(4 / steps, 4), round(2 / steps, 4)
    assert seen == [
        (True, True, 1.0, 0.1),
        (True, True, short, 0.1),
        (False, True, 1.0, 0.1),
        (False, True, short, 0.1),
        (False, False, 1.0, 0.0),
        (False, False, long, 0.0),
    ]
    assert {int(state["step"]) for state in found.optimizer.state.values()} == {2}
    found.close()
    assert not any(m.bits != 1 for m in found.network.modules() if isinstance(m, BinaryConv2d | RSign))


def test_thresholds_are_learned_or_stay_where_they_start() -> None:
    for thresholds in ("learned", "fixed"):
        found = run(thresholds=thresholds)
        found.objective.train()
        sign = found.network.blocks[0].sign
        before = sign.threshold.detach().clone()
        found.train_step(ROWS, 0)
        assert torch.equal(sign.threshold, before) is (thresholds == "fixed")


def test_blocks_and_norms_are_those_of_the_settings() -> None:
    block = run(block="pair", norm="both").network.blocks[0]
    assert isinstance(block, PairBlock)
    assert isinstance(block.first.norm_before, torch.nn.BatchNorm2d)


def test_bits_fall_stage_by_stage_and_cycle_by_cycle() -> None:
    found = run(bits="4141", weight_decay=0.1, schedule="linear", learning_rate=0.01)
    found.objective.train()
    sign, layer = found.network.blocks[0].sign, found.network.blocks[0].conv
    steps = found.settings.epochs * found.batches.steps
    assert steps % 4 == 0, "the stages begin at whole steps, or the rates below are others"
    seen = []
    for step in range(0, steps, steps // 4):
        found.train_step(ROWS, step)
        group = found.optimizer.param_groups[0]
        seen.append((sign.bits, layer.bits, round(group["lr"], 4), group["weight_decay"]))
        assert {int(state["step"]) for state in found.optimizer.state.values()} == {1}, (
            "no momentum of the stage before"
        )
    assert seen == [(4, 4, 0.01, 0.1), (1, 1, 0.01, 0.0)] * 2


def test_a_float_stage_computes_hardtanh_and_the_weights_themselves() -> None:
    found = run(float_until=0.5, latent="L1", phi="hardtanh", latent_every=2)
    found.objective.train()
    found.train_step(ROWS, 0)
    images, _ = found.batches.get(ROWS, 0)
    # The latent stream with φ = hardtanh is the same float network with norms of its own: with its norms they agree.
    pairs = dict(found.objective.latent.named_modules())
    for path, norm in found.network.named_modules():
        if isinstance(norm, torch.nn.BatchNorm2d | torch.nn.BatchNorm1d):
            norm.load_state_dict(pairs[path].state_dict())
    found.objective.eval()
    floats = found.network(images)
    assert torch.allclose(floats, found.objective.latent_logits(images), atol=1e-6)
    found.close()
    assert not torch.allclose(found.network(images), floats, atol=1e-2), "binary from now on"


def test_stages_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"real_weight_until = 0\.3 has passed when train\.float_until = 0\.3 ends"):
        Settings(float_until=0.3, real_weight_until=0.3)
    with pytest.raises(ConfigError, match="another latent variant than L4"):
        Settings(float_until=0.3, latent="L4")
    with pytest.raises(ConfigError, match="bits says what every stage is"):
        Settings(float_until=0.3, bits="21")
    for bits in ("1", "42", "491", "4,1"):
        with pytest.raises(ConfigError, match=r"train\.bits is a digit from 0 to 8 a stage, the last 1, not '"):
            Settings(bits=bits)
    with pytest.raises(ConfigError, match="binary weights need binary activations"):
        set_real_weights(torch.nn.Sequential(RSign(1)), False, activations=True)


def test_estimators_and_regulariser_are_chosen_by_name(tmp_path: Path) -> None:
    found = run(activation_estimator="ede", weight_estimator="reste", weight_regulariser="recu")
    assert {m.estimator for m in found.network.modules() if isinstance(m, RSign)} == {"ede"}
    kinds = {(m.estimator, m.regulariser) for m in found.network.modules() if isinstance(m, BinaryConv2d)}
    assert kinds == {("reste", "recu")}
    metrics = train(out=tmp_path, activation_estimator="ede", weight_regulariser="recu", **QUICK).metrics
    # What was measured is what is loaded: the regulariser has been written into the weights.
    from latentbit.training.data.catalogue import load

    digits = load("digits")
    network = load_network(tmp_path)
    found_logits = network(torch.from_numpy(digits.normalise(digits.test_images))).argmax(1).numpy()
    assert (found_logits == digits.test_labels).mean() == pytest.approx(metrics["test_accuracy"])


def test_a_teacher_replaces_its_share_of_the_loss(tmp_path: Path) -> None:
    folder = train(out=tmp_path, model="float_resnet20", latent="none", **QUICK).folder
    found = run(teacher=str(folder), teacher_weight=0.25, teacher_temperature=2.0, latent="none")
    assert found.teacher is not None
    assert not found.teacher.training
    images, labels = found.batches.get(ROWS, 0)
    found.objective.eval()
    lesson = found.teacher(images)
    loss, logits = found.objective(images, labels, lesson)
    expected = 0.75 * F.cross_entropy(logits, labels) + 0.25 * distillation(logits, lesson, 2.0)
    assert torch.allclose(loss, expected, atol=1e-5)
    before = {name: value.clone() for name, value in found.teacher.state_dict().items()}
    found.objective.train()
    found.train_step(ROWS, 0)
    assert all(torch.equal(value, before[name]) for name, value in found.teacher.state_dict().items())


@pytest.mark.parametrize("latent", ["L1", "L3", "L4", "L5", "L6"])
def test_a_teacher_works_beside_every_variant(latent: str, tmp_path: Path) -> None:
    folder = train(out=tmp_path, latent="none", **QUICK | {"epochs": 1}).folder
    found = run(teacher=str(folder), teacher_weight=0.5, latent=latent)
    found.objective.train()
    assert found.train_step(ROWS, 0).isfinite().all()


def test_a_loss_that_is_no_number_stops_the_run(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"the loss is no number any more in epoch \d: lower train.learning_rate"):
        train(out=tmp_path, **QUICK | {"learning_rate": 1e30, "optimizer": "sgd", "weight_limit": 0.0})


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")  # torch's compiler uses its own deprecated parts
def test_a_compiled_step_computes_the_same() -> None:
    totals = []
    for compiled in (False, True):
        found = run(compile=compiled, augment="none")
        found.objective.train()
        totals.append([found.train_step(ROWS, step)[0].item() for step in range(3)])
    assert totals[1][0] == pytest.approx(totals[0][0], rel=1e-4)
    # From then on a rounding may turn a sign, and with it the rest of the run: the curves agree, not their digits.
    assert totals[1] == pytest.approx(totals[0], rel=0.1)
