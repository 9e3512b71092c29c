"""Backbones, which map a face to a feature or an embedding."""

from typing import Any

from gfkeras.backbones.backbone import Backbone
from gfkeras.backbones.facenet import (
    FaceNetNN1,
    FaceNetNN2,
    FaceNetNN3,
    FaceNetNN4,
    FaceNetNNS1,
    FaceNetNNS2,
)
from gfkeras.backbones.inception_resnet_v1 import InceptionResNetV1
from gfkeras.backbones.iresnet import IResNet18, IResNet34, IResNet50, IResNet100
from gfkeras.backbones.mobilefacenet import MobileFaceNet
from gfkeras.backbones.sphereface_net import (
    SphereFaceNet4,
    SphereFaceNet10,
    SphereFaceNet20,
    SphereFaceNet36,
    SphereFaceNet64,
)
from gfkeras.errors import by_name

__all__ = [
    "Backbone", "FaceNetNN1", "FaceNetNN2", "FaceNetNN3", "FaceNetNN4", "FaceNetNNS1",
    "FaceNetNNS2", "IResNet18", "IResNet34", "IResNet50", "IResNet100", "InceptionResNetV1",
    "MobileFaceNet", "SphereFaceNet4", "SphereFaceNet10", "SphereFaceNet20", "SphereFaceNet36",
    "SphereFaceNet64", "get",
]  # fmt: skip

BACKBONES: dict[str, type[Backbone]] = {
    name: globals()[name] for name in __all__ if name not in ("Backbone", "get")
}


def get(name: str, **arguments: Any) -> Backbone:
    """Builds the backbone called `name`, such as "MobileFaceNet".

    Raises:
        ValueError: for an unknown name. The message suggests the nearest one.
    """
    return by_name("backbone", name, BACKBONES)(**arguments)
