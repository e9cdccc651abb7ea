"""The objectives under torch.compile: one graph, compiled once for all steps, with the values of the eager one."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from latentbit.training.latent.objectives import build_objective
from latentbit.training.models.blocks import BinaryBlock
from latentbit.training.settings import Settings


class Small(nn.Module):
    """Two blocks, a pool, a dict of outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.blocks = nn.Conv2d(1, 4, 3), nn.ModuleList([BinaryBlock(4, 4), BinaryBlock(4, 8, stride=2)])
        self.pool, self.head = nn.AdaptiveAvgPool2d(1), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return {"scores": self.head(self.pool(x).flatten(1))}


def task(outputs: dict[str, Tensor], labels: Tensor) -> Tensor:
    return F.cross_entropy(outputs["scores"], labels)


def distance(outputs: dict[str, Tensor], taught: dict[str, Tensor]) -> Tensor:
    return F.mse_loss(outputs["scores"], taught["scores"])


@pytest.mark.parametrize("variant", ["L1", "L2", "L3", "L4", "L6"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")  # torch's compiler uses its own deprecated parts
def test_a_compiled_objective_is_one_graph_of_the_same_values(variant: str) -> None:
    torch.manual_seed(0)
    torch._dynamo.reset()
    objective = build_objective(Small(), Settings(latent=variant, latent_share=0.5), task, distance).train()
    eager = build_objective(Small(), Settings(latent=variant, latent_share=0.5), task, distance).train()
    eager.load_state_dict(objective.state_dict())
    graphs: list[fx.GraphModule] = []

    def keep(graph: fx.GraphModule, example: Any) -> Any:
        graphs.append(graph)
        return graph.forward

    compiled: Any = torch.compile(objective, dynamic=False, fullgraph=True, backend=keep)
    images, labels = torch.randn(4, 1, 8, 8), torch.tensor([0, 1, 2, 0])
    for step in range(3):
        losses = []
        for run, known in ((compiled, objective), (eager, eager)):
            known.set_progress(step / 10, step)
            known.zero_grad()
            loss, outputs = run(images, labels)
            loss.backward()
            losses.append((loss, outputs["scores"]))
        torch.testing.assert_close(losses[0], losses[1])
        for (name, one), (_, other) in zip(objective.named_parameters(), eager.named_parameters(), strict=True):
            torch.testing.assert_close(one.grad, other.grad, msg=name)
    assert len(graphs) == 1
    for known in (objective, eager):
        known.network.eval()  # the mode of a module of the network, set behind the objective's back
    torch.testing.assert_close(compiled(images, labels)[0], eager(images, labels)[0])
