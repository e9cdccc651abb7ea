"""Storing the weights of the float layers that remain as int8: a quarter of their bytes, still float arithmetic.

``w ≈ scale·q`` with one scale an output channel, ``scale = max|w| / 127``, ``q = round(w / scale)`` (symmetric,
per-channel, as in arXiv 1806.08342, section 2). The folded network computes with ``scale·q``, so the reference and the
file agree. In the file it is Cast and Mul, which onnxruntime computes once, when it loads. (DequantizeLinear says the
same in one node, but onnxruntime 1.32 keeps it for its int8 kernels and carries it out at every run: the float layers
at the end of a ResNet-18 took 328 µs with it, 219 µs without, best of 200 runs of ``bench/nets/int8_storage.py``.)
"""

import torch
from torch import fx, nn

from ...export.folding import round_to_int8

__all__ = ["store_as_int8"]

SMALLEST = 256
"""Layers with fewer weights keep them in float: a scale a channel would save next to nothing."""


def store_as_int8(graph: fx.GraphModule) -> list[str]:
    """Round the weights of convolutions and linear layers in place; return the paths of those layers.

    A rounded layer holds ``weight`` (float32, equal to ``weight_scale·weight_int8``), ``weight_int8`` (int8, the shape
    of ``weight``) and ``weight_scale`` (float32 ``[O]``).
    """
    done = []
    for path, module in graph.named_modules():
        if not isinstance(module, nn.Conv2d | nn.Linear) or module.weight.numel() < SMALLEST:
            continue
        quantised, scale = (torch.from_numpy(part) for part in round_to_int8(module.weight.detach().numpy()))
        column = scale.view(-1, *[1] * (module.weight.dim() - 1))
        module.weight = nn.Parameter(quantised.float() * column, requires_grad=False)
        module.register_buffer("weight_int8", quantised)
        module.register_buffer("weight_scale", scale)
        done.append(path)
    return done
