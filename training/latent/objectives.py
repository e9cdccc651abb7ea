"""The latent branch: the real-valued W as a feature extractor that teaches the binary network.

Our reconstruction from the abstract of "Improving Binary Neural Networks through Fully Utilizing Latent Weights"
(arXiv 2110.05850), whose code and recipe are not published. Notation: a = sign(x − t), B(W) = α·sign(W), ⊛ a
convolution, φ = identity, hardtanh or sign, ρ = RPReLU, S a shortcut, sg = stop-gradient, z logits, b the binary and
w the latent stream, λ falls from 1 to 0 along a cosine by the share ``fade`` of the schedule and is 0 from then on.

* **L1, two streams.** ``x_b' = ρ(BN_b(a ⊛ B(W)) + S(x_b))`` and ``x_w' = ρ(BN_w(φ(x_w − t) ⊛ W) + S_w(x_w))``.
  W, t, ρ and all float layers are shared; every batch norm has a twin in the latent stream, those before the first
  binary layer too. Loss = κ·CE(z_b) + μ·CE(z_w) + β·T²·KL(sg softmax(z_w/T) ‖ softmax(z_b/T)), κ = 1 unless chosen.
* **L2, L1 and features.** Adds γ·Σ_stages ‖f_b/‖f_b‖ − sg(f_w/‖f_w‖)‖² and a centre loss on the pooled f_b.
* **L3, block fusion, fading.** ``u = BN_b(a ⊛ B(W)) + λ·BN_w(φ(x − t) ⊛ W)``; loss = CE.
* **L4, self-cancelling.** ``u = BN_b(y_b + λ_g·(y_w − sg y_w))`` with y_b = a ⊛ B(W), y_w = φ(x − t) ⊛ W and
  λ_g = η·‖g_b‖/(‖g_w‖ + ε), g the gradients that the two paths send into W: the value is the binary one, the gradient
  gains the latent path. Loss = CE.
* **L5, logit ensemble.** Loss = CE((1 − λ)·z_b + λ·z_w) + CE(z_b) over the streams of L1.
* **L6, recursive soft labels.** Between the streams of L1 a third, with q(x − t) and 2m·q(W/2m), q to two bits,
  m = mean|W| per output channel. Loss = κ·CE(z_b) + μ·CE(z_w) + β·T²·(KL(sg z_w ‖ z_2) + KL(sg z_2 ‖ z_b)). With κ = 0
  it is the supervision of Any-Precision DNN (arXiv 1911.07346).

The branch is built *over* a finished network (:mod:`.streams`) and shares its modules. The network knows nothing of
it: what is exported is the network, so nothing of the branch can remain.
"""

from types import MappingProxyType

from torch import nn

from ..settings import Settings, table_of
from .blocks import BlockFusion, SelfCancelling
from .objective import Objective
from .task import Loss
from .two_streams import FeatureSupervised, LogitEnsemble, Recursive, TwoStreams

__all__ = ["OBJECTIVES", "Objective", "build_objective"]

OBJECTIVES: MappingProxyType[str, type[Objective]] = table_of(
    "latent",
    {
        "none": Objective,
        "L1": TwoStreams,
        "L2": FeatureSupervised,
        "L3": BlockFusion,
        "L4": SelfCancelling,
        "L5": LogitEnsemble,
        "L6": Recursive,
    },
)


def build_objective(
    network: nn.Module, settings: Settings, task_loss: Loss | None = None, distance: Loss | None = None
) -> Objective:
    """Return the training objective of ``settings.latent`` over ``network``.

    task_loss: ``task_loss(outputs, targets)``, a scalar tensor, in the place of cross-entropy; the outputs are what the
        network returns, a tensor, tuple or dict.
    distance: ``distance(outputs, taught)``, a scalar tensor: how far outputs are from those that teach them (β, and
        ``train.teacher``). Without it nothing is distilled where ``task_loss`` is given.

    ConfigError names an option that means nothing for a loss of the user's own.
    """
    return OBJECTIVES[settings.latent](network, settings, task_loss, distance)
