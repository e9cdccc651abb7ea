"""What may be known of an operator without its body: one list for the runtime, the writer and the importer.

The bodies of our five operators stand in ``export/opset.py`` and nowhere else; importing them takes onnxscript. What a
reader of a file has to know of them is light and stands here. So does what is known of standard operators: which keep
a value ±1, and when a constant is one number per channel.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "LAYERS",
    "SIGNATURES",
    "SIGN_KEEPING",
    "STANDARD_DOMAINS",
    "WRITTEN_OUT",
    "Signature",
    "channel_vector",
    "find_layer",
    "sign_sources",
]

STANDARD_DOMAINS = ("", "ai.onnx")
"""The two names of the domain of standard ONNX operators."""


@dataclass(frozen=True)
class Signature:
    """An operator of domain ``ai.latentbit``, version 1, from the outside. Every operator gives one output.

    ``attributes`` are in the order of its definition, and a file must write all of them. ``rank`` is that of the values
    of a layer, 4 for a convolution and 2 for a dense layer; it is 0 for Binarize, which is no layer and takes both.
    ``real_input`` says that the input may be any number, else it is ±1. ``body`` is the digest of its definition
    (:func:`.intake.bodies.body_digest`; a test computes it anew from ``export/opset.py``).
    """

    name: str
    body: str
    inputs: tuple[str, ...]
    attributes: tuple[str, ...] = ()
    rank: int = 0
    real_input: bool = False


_LAYER_INPUTS = ("X", "W", "scale", "bias")
_GEOMETRY = ("weight_shape", "strides", "pads", "dilations", "group")

SIGNATURES: Mapping[str, Signature] = MappingProxyType(
    {
        signature.name: signature
        for signature in (
            Signature(
                "Binarize",
                "942284917d279c471212a236d88306718766088f7af1271c118bb56dcd118437",
                ("X", "threshold"),
                real_input=True,
            ),
            Signature(
                "BinaryConv2d",
                "a4e22f2b6438bcfa820d327ba0b40bdde0fd9c2aa8937da5cc9a73b6cd4c217c",
                _LAYER_INPUTS,
                (*_GEOMETRY, "pad_value"),
                rank=4,
            ),
            Signature(
                "BinaryGemm",
                "c5baedb8b7e0735a09166e858cca01d7c2f91eb9d8482f626c122c5dc415cd0d",
                _LAYER_INPUTS,
                ("weight_shape",),
                rank=2,
            ),
            Signature(
                "BinaryWeightConv2d",
                "e3f3a8ea81f2dabc44da767a9a61e6e9dac43eda5e380e8444b41f1ba820c8a2",
                _LAYER_INPUTS,
                _GEOMETRY,
                rank=4,
                real_input=True,
            ),
            Signature(
                "BinaryWeightGemm",
                "8bbd8ba6dc769c223d62156be3d225644633a2bc14586cc8baf3be557b945c9b",
                _LAYER_INPUTS,
                ("weight_shape",),
                rank=2,
                real_input=True,
            ),
        )
    }
)
"""Our operators by name."""

WRITTEN_OUT = "latentbit.written_out"
"""The property of a plain file (export/inline.py) that says which node of it stands for which operator of ours.

JSON: by the name of the node ``{"operator": its name here, "reads": the value that is its X}``.
"""

LAYERS = frozenset(name for name, signature in SIGNATURES.items() if signature.rank)
"""Those that hold packed weights."""

SIGN_KEEPING = frozenset(
    {
        *("Concat", "DepthToSpace", "Dropout", "Flatten", "Gather", "GlobalMaxPool", "Identity", "MaxPool", "Reshape"),
        *("Resize", "Slice", "SpaceToDepth", "Split", "Squeeze", "Transpose", "Unsqueeze"),
    }
)
"""Standard operators whose first output copies or selects entries of their first input (Concat: of all inputs).

Split does so with every output, and Resize where it takes the nearest pixel.
"""

Value = TypeVar("Value")


def find_layer(rank: int, *, real_input: bool) -> Signature:
    """Return the layer for values of this rank (4: convolution, 2: dense) with a real or a ±1 input."""
    return next(found for found in SIGNATURES.values() if (found.rank, found.real_input) == (rank, real_input))


def sign_sources(
    op_type: str, domain: str, inputs: Sequence[Value], attributes: Mapping[str, Any] = MappingProxyType({})
) -> Sequence[Value]:
    """Return the inputs of a node that must be ±1 for its first output to be ±1; none where it never is.

    ``inputs`` are names or values, ``""`` or None for one that is left out; ``attributes`` are texts, integers and
    lists of integers by name. A Dropout that can be told to train keeps no signs: it would set some to zero. Nor does a
    MaxPool of which a window may lie in the padding alone: there is no maximum.
    """
    if domain not in STANDARD_DOMAINS or op_type not in SIGN_KEEPING:
        return ()
    if op_type == "Concat":
        return inputs
    if op_type == "Dropout" and len(inputs) > 2 and inputs[2] not in ("", None):
        return ()
    if op_type == "Resize" and (
        attributes.get("mode", "nearest") != "nearest"
        or attributes.get("coordinate_transformation_mode") == "tf_crop_and_resize"
    ):
        return ()
    if op_type == "MaxPool" and _leaves_the_image(attributes):
        return ()
    return inputs[:1]


def _leaves_the_image(attributes: Mapping[str, Any]) -> bool:
    """Tell whether a window of a pool may lie in the padding alone, for some size of the image."""
    kernel, pads = attributes.get("kernel_shape", ()), attributes.get("pads", ())
    padded = any(pads) or attributes.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID")
    if any(not 0 <= pad < size for pad, size in zip(pads, (*kernel, *kernel), strict=False)):
        return True
    if padded and any(step != 1 for step in attributes.get("dilations", ())):
        return True
    beyond = any(step > size for step, size in zip(attributes.get("strides", ()), kernel, strict=False))
    return bool(attributes.get("ceil_mode", 0)) and (padded or beyond)


def channel_vector(array: NDArray[Any] | None, rank: int, channels: int) -> NDArray[np.float32] | None:
    """Return ``array`` as float32 ``[channels]`` if it broadcasts as one number per channel over rank ``rank``.

    The channels are axis 1 (NCHW, NC). None for no array, another dtype, another shape, or a shape that would add axes.
    """
    if array is None or array.dtype != np.float32 or array.ndim > rank:
        return None
    full = array.reshape((1,) * (rank - array.ndim) + array.shape)
    if full.size == 1 or full.shape == (1, channels, *(1,) * (rank - 2)):
        return np.ascontiguousarray(np.broadcast_to(full.reshape(-1), (channels,)))
    return None
