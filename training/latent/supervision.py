"""What the streams are taught with: losses between logits and between features."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["CentreLoss", "distillation", "feature_distance"]


def distillation(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """T²·KL(sg softmax(teacher/T) ‖ softmax(student/T)), mean over the batch (Hinton et al., arXiv 1503.02531).

    Logits ``[N, classes]``; no gradient reaches the teacher. The factor T² keeps the size of the gradient.
    """
    target = F.softmax(teacher.detach().float() / temperature, dim=1)
    log_student = F.log_softmax(student.float() / temperature, dim=1)
    return F.kl_div(log_student, target, reduction="batchmean") * temperature**2


def feature_distance(binary: Tensor, latent: Tensor) -> Tensor:
    """‖f_b/‖f_b‖ − sg(f_w/‖f_w‖)‖² of each image's flattened features, mean over the batch; between 0 and 4."""
    return (_unit(binary) - _unit(latent.detach())).square().sum(tuple(range(1, binary.dim()))).mean()


def _unit(x: Tensor) -> Tensor:
    """Return each image's features over their norm, in float32; not flattened, which would copy NHWC features."""
    x = x.float()
    norm: Tensor = torch.linalg.vector_norm(x, dim=tuple(range(1, x.dim())), keepdim=True)
    return x / norm.clamp(min=1e-12)


class CentreLoss(nn.Module):
    """½·‖f − c_y‖² to a running centre of each class, mean over the batch (Wen et al., ECCV 2016, eqs. 2–4).

    Features ``[N, size]`` with labels ``[N]``. Centres start at zero and move by ``rate`` towards the members of their
    class in each training step; they take no gradient.
    """

    centres: Tensor

    def __init__(self, classes: int, size: int, *, rate: float = 0.5) -> None:
        super().__init__()
        self.rate = rate
        self.register_buffer("centres", torch.zeros(classes, size))

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        """Return the loss; in training mode the centres move afterwards."""
        features = features.flatten(1).float()
        offsets = features - self.centres[labels]
        loss = 0.5 * offsets.square().sum(1).mean()
        if self.training:
            count = torch.zeros_like(self.centres[:, 0]).index_add_(0, labels, torch.ones_like(features[:, 0]))
            total = torch.zeros_like(self.centres).index_add_(0, labels, offsets.detach())
            self.centres += self.rate * total / (1 + count[:, None])
        return loss
