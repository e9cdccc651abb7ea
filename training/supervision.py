"""What the streams are taught with: losses between two networks' outputs."""

import torch.nn.functional as F
from torch import Tensor

__all__ = ["distillation"]


def distillation(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """T²·KL(sg softmax(teacher/T) ‖ softmax(student/T)), mean over the batch (Hinton et al., arXiv 1503.02531).

    Logits ``[N, classes]``; no gradient reaches the teacher. The factor T² keeps the size of the gradient.
    """
    target = F.softmax(teacher.detach().float() / temperature, dim=1)
    log_student = F.log_softmax(student.float() / temperature, dim=1)
    return F.kl_div(log_student, target, reduction="batchmean") * temperature**2
