"""Backbones, which map a 112×112 face to a feature or an embedding."""

from typing import Any

from gfkeras.backbones.backbone import Backbone
from gfkeras.backbones.iresnet import IResNet18, IResNet34, IResNet50, IResNet100
from gfkeras.backbones.mobilefacenet import MobileFaceNet
from gfkeras.errors import by_name

__all__ = ["Backbone", "IResNet18", "IResNet34", "IResNet50", "IResNet100", "MobileFaceNet", "get"]

BACKBONES: dict[str, type[Backbone]] = {
    cls.__name__: cls for cls in (IResNet18, IResNet34, IResNet50, IResNet100, MobileFaceNet)
}


def get(name: str, **arguments: Any) -> Backbone:
    """Builds the backbone called `name`, such as "MobileFaceNet".

    Raises:
        ValueError: for an unknown name. The message suggests the nearest one.
    """
    return by_name("backbone", name, BACKBONES)(**arguments)
