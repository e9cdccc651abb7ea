"""Which networks are tried: torchvision's, timm's, those of :mod:`.edge`. Weights are random, nothing is fetched."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .edge import EDGE

__all__ = ["NETWORKS", "Entry"]


@dataclass(frozen=True)
class Entry:
    """``build`` makes the network in eval mode; ``shape`` is one sample's."""

    family: str
    build: Callable[[], nn.Module]
    shape: tuple[int, ...]


def torchvision() -> Any:
    """Import torchvision. Beside a CPU build of torch its wheel cannot load its operators; two of them it must know."""
    if "torchvision" not in sys.modules:
        for name in ("torchvision::nms", "torchvision::qnms"):
            torch.library.define(name, "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    import torchvision as package

    return package


class Maps(nn.Module):
    """Backbone and heads of a detector, as they are deployed: boxes are chosen from their maps outside of the file."""

    def __init__(self, detector: nn.Module) -> None:
        super().__init__()
        self.backbone = detector.backbone
        self.head = detector.head if hasattr(detector, "head") else detector.rpn.head

    def forward(self, x: Tensor) -> Any:
        """Return what the heads say of every place and anchor."""
        maps = self.backbone(x)
        return self.head(list(maps.values()) if isinstance(maps, dict) else [maps])


def _classifier(name: str, size: int = 224, **options: Any) -> tuple[str, Entry]:
    def build() -> nn.Module:
        network: nn.Module = getattr(torchvision().models, name)(weights=None, **options)
        return network

    return name, Entry("torchvision, classification", build, (3, size, size))


def _segmenter(name: str, size: int) -> tuple[str, Entry]:
    def build() -> nn.Module:
        models = torchvision().models.segmentation
        network: nn.Module = getattr(models, name)(weights=None, weights_backbone=None, num_classes=21)
        return network

    return name, Entry("torchvision, segmentation", build, (3, size, size))


def _detector(name: str, size: int) -> tuple[str, Entry]:
    """Behind the heads a detector chooses boxes by torchvision's compiled operators, which CPU builds of torch lack."""

    def build() -> nn.Module:
        models = torchvision().models.detection
        return Maps(getattr(models, name)(weights=None, weights_backbone=None))

    return name, Entry("torchvision, detection", build, (3, size, size))


def _timm(name: str, size: int = 224) -> tuple[str, Entry]:
    def build() -> nn.Module:
        torchvision()
        import timm

        network: nn.Module = timm.create_model(name, pretrained=False)
        return network

    return f"timm {name}", Entry("timm", build, (3, size, size))


_CLASSIFIERS = (
    "alexnet vgg11 vgg11_bn resnet18 resnet50 resnext50_32x4d wide_resnet50_2 densenet121 squeezenet1_1 "
    "shufflenet_v2_x0_5 shufflenet_v2_x1_0 mobilenet_v2 mobilenet_v3_small mobilenet_v3_large mnasnet0_5 mnasnet1_0 "
    "regnet_x_400mf regnet_y_400mf efficientnet_b0 efficientnet_v2_s convnext_tiny vit_b_32 swin_t swin_v2_t maxvit_t"
)
_SMALLER = {"efficientnet_v2_s": 128, "convnext_tiny": 128, "swin_t": 128, "swin_v2_t": 128}
"""Sizes of images, where the usual 224 would take minutes."""
_TIMM = (
    "mobilenetv4_conv_small mobilenetv3_small_050 lcnet_050 tinynet_e ghostnet_100 mobileone_s0 repvgg_a0 rexnet_100 "
    "efficientvit_b0 mobilevit_xxs edgenext_xx_small fastvit_t8 convnext_atto levit_128s deit_tiny_patch16_224 "
    "mixer_s32_224 poolformer_s12 resnet10t hardcorenas_a ese_vovnet19b_dw"
)

_FIXED = ("levit_128s", "deit_tiny_patch16_224", "mixer_s32_224")
"""Those of timm that take no other size than 224; the others get 128, which takes a third of the time."""

NETWORKS: dict[str, Entry] = dict(
    [
        *((name, Entry("edge", build, shape)) for name, (build, shape) in EDGE.items()),
        *(_classifier(name, _SMALLER.get(name, 224)) for name in _CLASSIFIERS.split()),
        _classifier("googlenet", 128, init_weights=False),
        _classifier("inception_v3", 160, init_weights=False),
        _segmenter("lraspp_mobilenet_v3_large", 128),
        _segmenter("deeplabv3_mobilenet_v3_large", 128),
        _segmenter("deeplabv3_resnet50", 128),
        _segmenter("fcn_resnet50", 128),
        _detector("ssdlite320_mobilenet_v3_large", 256),
        _detector("ssd300_vgg16", 300),
        _detector("retinanet_resnet50_fpn", 128),
        _detector("fcos_resnet50_fpn", 128),
        _detector("fasterrcnn_mobilenet_v3_large_320_fpn", 128),
        _detector("fasterrcnn_resnet50_fpn", 128),
        *(_timm(name, 224 if name in _FIXED else 128) for name in _TIMM.split()),
    ]
)  # fmt: skip
"""By name, in the order of the page."""
