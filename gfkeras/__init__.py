"""Face recognition with GroupFace in Keras 3.

Build, train, evaluate and export GroupFace (CVPR 2020, arXiv 2005.10497):

    model = gfkeras.GroupFace(gfkeras.backbones.MobileFaceNet(), num_groups=32)
    training = gfkeras.FaceClassifier(
        model, gfkeras.heads.ArcFace(num_classes=1000), gfkeras.losses.SelfGroupingLoss()
    )

Modules are imported when you first use them, which keeps `import gfkeras` and the command line
fast.
"""

import os
from typing import Any

import lazy_loader

from gfkeras import registration  # Lets Keras find the classes of saved models.
from gfkeras.backend import missing_package

# Set here because TensorFlow reads it once, at its first import. A user's own setting is kept.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

_import, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> Any:
    try:
        return _import(name)
    except ModuleNotFoundError as error:
        raise missing_package(error) from error
