"""A transposed convolution as a convolution whose channels become pixels: the same sums, in a form that can be packed.

An output pixel of ``ConvTranspose`` with stride s depends, by its place modulo s, on every s-th tap of the kernel alone
(sub-pixel convolution, arXiv 1609.07009). So s·s small kernels give s·s images, DepthToSpace puts them together, and
Slice takes the padding off::

    x ─ ConvTranspose(k, s) ─ y    =    x ─ Conv(ceil(k / s)) ─ DepthToSpace(s) ─ Slice ─ y

Where s does not divide k, some taps of the small kernels are 0.
"""

import numpy as np
import onnx_ir as ir

from ..graph.constants import Constants
from .layers import StaysFloat, label, shape_of
from .rewriting import Rewriting

__all__ = ["as_convolution"]

_ALL = np.iinfo(np.int64).max


def as_convolution(node: ir.Node, constants: Constants, rewriting: Rewriting) -> ir.Node:
    """Replace a ``ConvTranspose`` by a convolution and what puts its pixels in place; return the convolution.

    StaysFloat for one without constant weights ``[C, O/group, kh, kw]``, with two different strides, with dilations, or
    with a padding that depends on the image.
    """
    weight = constants.get(node.inputs[1])
    sizes = shape_of(node.inputs[0])
    if weight is None or weight.ndim != 4 or weight.dtype != np.float32 or sizes is None or sizes[1] is None:
        raise StaysFloat("a ConvTranspose is packed only with constant float32 weights over images")
    get = node.attributes.get_ints
    strides, dilations = list(get("strides", [1, 1]) or []), list(get("dilations", [1, 1]) or [])
    pads, extra = list(get("pads", [0] * 4) or []), list(get("output_padding", [0, 0]) or [])
    automatic = node.attributes.get_string("auto_pad", "NOTSET") not in ("NOTSET", "")
    if strides[0] != strides[1] or dilations != [1, 1] or automatic or "output_shape" in node.attributes:
        raise StaysFloat("a ConvTranspose is packed only with one stride for both axes, no dilations and given pads")
    stride, group, kernel = strides[0], node.attributes.get_int("group", 1) or 1, weight.shape[2:]
    taps = [-(-size // stride) for size in kernel]
    ends = [taps[i] * stride - kernel[i] - extra[i] + pads[2 + i] for i in (0, 1)]
    bias = constants.get(node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2] is not None else None
    if min(*ends, *pads) < 0 or (bias is None and len(node.inputs) > 2 and node.inputs[2] is not None):
        raise StaysFloat("a ConvTranspose that pads its output, or computes its bias, has no packed form")
    channels, outputs = weight.shape[0] // group, weight.shape[1]
    whole = np.zeros((group, channels, outputs, taps[0] * stride, taps[1] * stride), np.float32)
    whole[..., : kernel[0], : kernel[1]] = weight.reshape(group, channels, outputs, *kernel)
    # [group, C, O, tap, phase, tap, phase] to [group, O, phase, phase, C, tap, tap], the taps turned round
    split = whole.reshape(group, channels, outputs, taps[0], stride, taps[1], stride)
    small = split.transpose(0, 2, 4, 6, 1, 3, 5)[..., ::-1, ::-1].reshape(-1, channels, *taps)
    name, value = label(node), node.outputs[0]
    inputs = [node.inputs[0], rewriting.constant(f"{name}.weight", small)]
    if bias is not None:
        inputs.append(rewriting.constant(f"{name}.bias", np.repeat(bias, stride * stride)))
    attributes = {"pads": [taps[0] - 1, taps[1] - 1] * 2, "group": group}
    conv = rewriting.insert_after(node, "Conv", inputs, attributes, name=name, like=value)
    conv.shape = ir.Shape([node.inputs[0].shape[0], len(small), None, None])  # type: ignore[index, union-attr]
    made = conv.producer()
    assert made is not None
    cut = {"starts": pads[:2], "ends": [-end if end else _ALL for end in ends], "axes": [2, 3]}
    limits = [rewriting.constant(f"{name}.{key}", np.array(numbers, np.int64)) for key, numbers in cut.items()]
    shuffle = {"blocksize": stride, "mode": "CRD"}
    image = rewriting.insert_after(made, "DepthToSpace", [conv], shuffle, name=f"{name}.pixels", like=value)
    image.shape = None
    last = image.producer()
    assert last is not None
    final = rewriting.insert_after(last, "Slice", [image, *limits], {}, name=f"{name}.cut", like=value)
    ir.convenience.replace_all_uses_with(value, final, replace_graph_outputs=True)
    value.name, final.name = rewriting.unique(f"{name}.replaced"), value.name
    assert node.graph is not None
    node.graph.remove(node, safe=True)
    return made
