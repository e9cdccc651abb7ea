"""Names that options of training know, where others are taken too or a network decides; completed without torch.

What an option takes and nothing else stands in its ``choices`` (:mod:`.settings`). Tests compare these lists with the
tables of functions that the names stand for.
"""

from types import MappingProxyType

__all__ = ["NAMES"]

_ESTIMATORS = ("approx_sign", "ede", "identity", "identity_clip", "reste")

NAMES: MappingProxyType[str, tuple[str, ...]] = MappingProxyType(
    {
        "activation_estimator": _ESTIMATORS,
        "augment": ("crop2_flip", "crop4_flip", "none", "resized_crop", "shift1"),
        "block": ("attention", "fractal", "ghost", "pair", "plain", "residual"),
        "data": ("cifar10", "cifar100", "digits", "fashion_mnist", "folder:", "mnist"),
        "device": ("auto", "cpu", "cuda"),
        "downsample": ("binary", "float"),
        "model": (
            "digits_resnet", "float_digits_resnet", "float_resnet18", "float_resnet20", "float_resnet34",
            "float_resnet8", "mlp", "resnet18", "resnet20", "resnet34", "resnet8", "vgg_small",
        ),
        "norm": ("after", "before", "both", "none"),
        "stem": ("cheap", "cifar", "imagenet", "strided"),
        "weight_estimator": _ESTIMATORS,
        "weight_regulariser": ("none", "recu", "standardise"),
    }
)  # fmt: skip
"""By option of ``[train]``, in alphabetical order."""
